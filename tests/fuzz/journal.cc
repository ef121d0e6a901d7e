// A rollback journal's header, the super-journal's name at its end, and names of companions.
// Input: one byte (bit 0: a super-journal record is appended), then the journal.
#include "fs/sqlite/journal.h"

#include "fs/sqlite/database_header.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

/// The end of a journal of a multi-file commit, with the bytes as the name.
Buffer with_super_journal(Bytes name) {
  Buffer journal(4);
  append_bytes(journal, name);
  std::uint8_t trailer[8];
  std::uint32_t sum = 0;
  for (std::uint8_t byte : name) sum += static_cast<std::uint32_t>(static_cast<char>(byte));
  store_be(&trailer[0], static_cast<std::uint32_t>(name.size()));
  store_be(&trailer[4], sum);
  append_bytes(journal, trailer);
  const std::uint8_t magic[8] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  append_bytes(journal, magic);
  return journal;
}

void check_names(const std::string& name) {
  if (auto companion = sqlite::split_companion(name)) {
    require(!companion->base.empty() && companion->base.back() != '/', "a companion belongs to a file");
    require(sqlite::companion_name(companion->base, companion->kind) == name,
            "a companion's name comes back");
  }
  require(!sqlite::is_super_journal_name(name) || name.size() > 12, "a super-journal belongs to a file");
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(journal) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  if (input.empty()) return;
  Bytes bytes = input.subspan(1);
  if (auto header = sqlite::parse_journal_header(bytes)) {
    require(sqlite::is_hot_header(bytes), "what parses is hot");
    require(sqlite::is_page_size(header->page_size) && header->sector_size != 0, "sizes make sense");
  }
  check_names(std::string(bytes.begin(), bytes.end()));
  const bool appends = input[0] & 1;
  Buffer journal = appends ? with_super_journal(bytes) : Buffer(bytes.begin(), bytes.end());
  auto name = sqlite::parse_super_journal_name(journal);
  if (!name) return;
  require(name->size() <= sqlite::kSuperJournalRecordMax, "a name is short");
  require(name->find('\0') == std::string::npos, "a name has no zero byte");
  if (appends)
    require(std::equal(name->begin(), name->end(), bytes.begin(), bytes.end(),
                       [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; }),
            "the name comes back");
  check_names(*name);
}
