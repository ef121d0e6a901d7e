#include "fs/sqlite/journal.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/sqlite/database_header.h"

namespace rillfs::sqlite {
namespace {

constexpr std::uint8_t kMagic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};

bool has_magic(const std::uint8_t* at) { return std::memcmp(at, kMagic, sizeof kMagic) == 0; }

constexpr std::pair<std::string_view, Companion> kSuffixes[] = {
    {"-wal", Companion::kWal}, {"-shm", Companion::kShm}, {"-journal", Companion::kJournal}};

bool is_upper_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); }

}  // namespace

std::optional<JournalHeader> parse_journal_header(Bytes start_of_file) {
  if (!is_hot_header(start_of_file)) return std::nullopt;
  const std::uint8_t* at = start_of_file.data();
  JournalHeader header{.records = load_be<std::uint32_t>(at + 8),
                       .nonce = load_be<std::uint32_t>(at + 12),
                       .size_before = Pgno{load_be<std::uint32_t>(at + 16)},
                       .sector_size = load_be<std::uint32_t>(at + 20),
                       .page_size = load_be<std::uint32_t>(at + 24)};
  if (!is_page_size(header.page_size)) return std::nullopt;
  const std::uint32_t sector = header.sector_size;
  if (sector < 32 || sector > kPageSizeMax || (sector & (sector - 1)) != 0) return std::nullopt;
  return header;
}

bool is_hot_header(Bytes start_of_file) {
  return start_of_file.size() >= kJournalHeaderSize && has_magic(start_of_file.data());
}

bool is_header_of_transaction(Bytes start_of_file, std::uint64_t offset, std::size_t size) {
  constexpr std::uint32_t kToEndOfFile = 0xffffffff;
  const auto header = parse_journal_header(start_of_file);
  if (!header) return true;
  if (offset != 0) return false;
  const bool completed = size == sizeof kMagic + sizeof header->records;
  return completed || (size <= header->sector_size && header->records == kToEndOfFile);
}

std::optional<std::string> parse_super_journal_name(Bytes end_of_file) {
  constexpr std::size_t kTrailer = 16;
  if (end_of_file.size() < kTrailer) return std::nullopt;
  const std::uint8_t* trailer = end_of_file.data() + end_of_file.size() - kTrailer;
  if (!has_magic(trailer + 8)) return std::nullopt;
  const std::size_t length = load_be<std::uint32_t>(trailer);
  const std::size_t length_max = std::min(end_of_file.size(), kSuperJournalRecordMax) - kTrailer;
  if (length == 0 || length > length_max) return std::nullopt;
  std::string name(reinterpret_cast<const char*>(trailer - length), length);
  // SQLite sums plain `char`s, which are signed on some machines: so does this.
  std::uint32_t sum = 0;
  for (const char c : name) sum += static_cast<std::uint32_t>(c);
  if (sum != load_be<std::uint32_t>(trailer + 4)) return std::nullopt;
  if (name.find('\0') != std::string::npos) return std::nullopt;
  return name;
}

std::optional<CompanionName> split_companion(std::string_view name) {
  for (const auto& [suffix, kind] : kSuffixes) {
    if (name.size() <= suffix.size() || !name.ends_with(suffix)) continue;
    const std::string_view base = name.substr(0, name.size() - suffix.size());
    if (base.back() == '/') return std::nullopt;
    return CompanionName{base, kind};
  }
  return std::nullopt;
}

std::string companion_name(std::string_view base, Companion kind) {
  std::string name(base);
  for (const auto& [suffix, suffix_kind] : kSuffixes)
    if (suffix_kind == kind) name += suffix;
  return name;
}

bool is_super_journal_name(std::string_view name) {
  constexpr std::size_t kTail = 12;  // "-mj" and nine digits, of which the seventh is a 9
  if (name.size() <= kTail || name[name.size() - kTail - 1] == '/') return false;
  const std::string_view tail = name.substr(name.size() - kTail);
  return tail.starts_with("-mj") && tail[9] == '9' && std::all_of(tail.begin() + 3, tail.end(), is_upper_hex);
}

}  // namespace rillfs::sqlite
