#include "fs/sqlite/database_header.h"

#include <cstring>
#include <limits>

namespace rillfs::sqlite {
namespace {

constexpr char kMagic[16] = "SQLite format 3";
constexpr std::uint8_t kPayloadFractions[3] = {64, 32, 32};

}  // namespace

Pgno DatabaseHeader::size_in_pages(std::uint64_t file_size) const {
  if (size_field_valid()) return Pgno{size_field};
  const std::uint64_t pages = file_size / page_size + (file_size % page_size != 0);
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint32_t>::max();
  return Pgno{static_cast<std::uint32_t>(pages < kMax ? pages : kMax)};
}

bool has_database_magic(Bytes start_of_file) {
  return start_of_file.size() >= sizeof kMagic &&
         std::memcmp(start_of_file.data(), kMagic, sizeof kMagic) == 0;
}

Result<DatabaseHeader> parse_database_header(Bytes start_of_file) {
  if (start_of_file.size() < kDatabaseHeaderSize)
    return make_error(ErrorCode::kCorrupt, "database header: fewer than 100 bytes");
  if (!has_database_magic(start_of_file)) return make_error(ErrorCode::kCorrupt, "not a SQLite database");
  const std::uint8_t* at = start_of_file.data();
  DatabaseHeader header;
  const std::uint16_t size_code = load_be<std::uint16_t>(at + 16);
  header.page_size = size_code == 1 ? kPageSizeMax : size_code;
  header.write_version = at[18];
  header.read_version = at[19];
  header.reserved_bytes = at[20];
  header.change_counter = load_be<std::uint32_t>(at + 24);
  header.size_field = load_be<std::uint32_t>(at + 28);
  header.version_valid_for = load_be<std::uint32_t>(at + 92);
  if (!is_page_size(header.page_size))
    return make_error(ErrorCode::kCorrupt, "database header: bad page size " + std::to_string(size_code));
  if (header.write_version == 0 || header.read_version == 0)
    return make_error(ErrorCode::kCorrupt, "database header: bad format version");
  if (header.read_version > 2)
    return make_error(ErrorCode::kUnsupported,
                      "database header: read version " + std::to_string(header.read_version));
  if (std::memcmp(at + 21, kPayloadFractions, sizeof kPayloadFractions) != 0)
    return make_error(ErrorCode::kCorrupt, "database header: bad payload fractions");
  if (header.page_size - header.reserved_bytes < 480)
    return make_error(ErrorCode::kCorrupt, "database header: too many reserved bytes");
  return header;
}

}  // namespace rillfs::sqlite
