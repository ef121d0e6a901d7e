#include "fs/sqlite/wal_index.h"

#include "fs/sqlite/database_header.h"

namespace rillfs::sqlite {
namespace {

constexpr std::uint32_t kVersion = 3007000;
constexpr std::size_t kSummed = 40;

WalChecksum sum_of(const std::uint8_t* header) {
  WalChecksum sum;
  sum.update(Bytes(header, kSummed), kHostWordOrder);
  return sum;
}

}  // namespace

std::array<std::uint8_t, kIndexHeaderSize> encode_wal_index_header(const WalIndexHeader& header) {
  std::array<std::uint8_t, kIndexHeaderSize> bytes{};
  std::uint8_t* to = bytes.data();
  store_host(to, kVersion);
  store_host(to + 8, header.change);
  to[12] = 1;
  to[13] = static_cast<std::uint8_t>(header.order);
  store_host(to + 14, static_cast<std::uint16_t>(header.page_size == kPageSizeMax ? 1 : header.page_size));
  store_host(to + 16, header.max_frame);
  store_host(to + 20, header.size.value);
  store_host(to + 24, header.frame_checksum.first);
  store_host(to + 28, header.frame_checksum.second);
  store_be(to + 32, header.salts.first);
  store_be(to + 36, header.salts.second);
  const WalChecksum sum = sum_of(to);
  store_host(to + 40, sum.first);
  store_host(to + 44, sum.second);
  return bytes;
}

std::optional<WalIndexHeader> parse_wal_index_header(Bytes copy) {
  if (copy.size() < kIndexHeaderSize) return std::nullopt;
  const std::uint8_t* at = copy.data();
  const WalChecksum stored{load_host<std::uint32_t>(at + 40), load_host<std::uint32_t>(at + 44)};
  if (at[12] == 0 || stored != sum_of(at) || load_host<std::uint32_t>(at) != kVersion) return std::nullopt;
  if (at[13] > 1) return std::nullopt;
  const std::uint16_t size_code = load_host<std::uint16_t>(at + 14);
  WalIndexHeader header;
  header.change = load_host<std::uint32_t>(at + 8);
  header.order = static_cast<WordOrder>(at[13]);
  header.page_size = size_code == 1 ? kPageSizeMax : size_code;
  header.max_frame = load_host<std::uint32_t>(at + 16);
  header.size = Pgno{load_host<std::uint32_t>(at + 20)};
  header.frame_checksum = {load_host<std::uint32_t>(at + 24), load_host<std::uint32_t>(at + 28)};
  header.salts = {load_be<std::uint32_t>(at + 32), load_be<std::uint32_t>(at + 36)};
  if (header.max_frame != 0 && !is_page_size(header.page_size)) return std::nullopt;
  return header;
}

}  // namespace rillfs::sqlite
