// The rollback journal, and the names of the files that SQLite puts beside a database.
//
// Source: SQLite's "Database File Format", 3 (journal), and "Atomic Commit In SQLite" (super-journal). All
// integers big-endian.
//
//   header, 28 bytes                            end of a journal that is part of a multi-file commit
//        0  8  magic d9d505f920a163d7               4  number of the lock page (no record has it)
//        8  4  records; -1: to the end of file      n  name of the super-journal, no zero byte
//       12  4  nonce of the checksums               4  n
//       16  4  size of the database before, pages   4  sum of the name's bytes
//       20  4  sector size                          8  magic
//       24  4  page size
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "replication/base/bytes.h"
#include "replication/base/types.h"

namespace rillfs::sqlite {

inline constexpr std::size_t kJournalHeaderSize = 28;
/// Reading this much from the end of a journal is enough to find the name of its super-journal: SQLite limits
/// path names to far less.
inline constexpr std::size_t kSuperJournalRecordMax = 4 + 4096 + 16;

struct JournalHeader {
  std::uint32_t records = 0;  ///< 0xffffffff: as many as the file has
  std::uint32_t nonce = 0;
  Pgno size_before;  ///< of the database
  std::uint32_t sector_size = 0;
  std::uint32_t page_size = 0;
};

/// The header of a journal that SQLite would play back; nothing if the bytes are zeroed, torn or too few.
std::optional<JournalHeader> parse_journal_header(Bytes start_of_file);
/// True as long as the transaction of this journal is not committed: the header stands. Deleting, truncating
/// or zeroing it is the commit.
bool is_hot_header(Bytes start_of_file);
/// Whether a header that stands after the write of `size` bytes at `offset`, and did not before, was written
/// by a transaction, not by a copy of the file. Source: SQLite's pager.c. Where a journal is not synced,
/// writeJournalHdr writes the header's sector, or less of it, with -1 for the records; else syncJournal puts
/// magic and records over zeroes once the rest is durable.
bool is_header_of_transaction(Bytes start_of_file, std::uint64_t offset, std::size_t size);

/// The super-journal's name at the end of a journal, from the journal's last bytes (at most
/// kSuperJournalRecordMax are looked at); nothing if there is none.
std::optional<std::string> parse_super_journal_name(Bytes end_of_file);

enum class Companion { kWal, kShm, kJournal };

/// A companion's name taken apart: "x.db-wal" is {"x.db", kWal}.
struct CompanionName {
  std::string_view base;
  Companion kind;
};

/// Nothing if `name` is not "X-wal", "X-shm" or "X-journal" with a non-empty last component in X. The result
/// refers to `name`.
std::optional<CompanionName> split_companion(std::string_view name);
std::string companion_name(std::string_view base, Companion kind);

/// True for "X-mjHHHHHH9HH": a super-journal of an ATTACH transaction whose main database is X.
bool is_super_journal_name(std::string_view name);

}  // namespace rillfs::sqlite
