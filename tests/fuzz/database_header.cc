// The first bytes of a database file, beside what SQLite itself makes of them.
#include "fs/sqlite/database_header.h"

#include <sqlite3.h>

#include "support/target.h"

namespace rillfs::fuzz {
namespace {

/// SQLite's opinion on a database of one page that begins with these bytes: its page size, 0 if it opens it
/// not. A page size larger than the file is no page size for it.
std::uint32_t sqlite_page_size(Bytes start, std::uint32_t page_size) {
  sqlite3* db = nullptr;
  if (sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, nullptr) != SQLITE_OK) std::abort();
  Buffer file(start.begin(), start.end());
  file.resize(page_size);
  sqlite3_deserialize(db, "main", file.data(), static_cast<sqlite3_int64>(file.size()),
                      static_cast<sqlite3_int64>(file.size()), SQLITE_DESERIALIZE_READONLY);
  sqlite3_stmt* statement = nullptr;
  std::uint32_t found = 0;
  // Reading the schema makes SQLite look at the header; the pragma alone would answer with the default.
  const bool opens = sqlite3_prepare_v2(db, "PRAGMA schema_version", -1, &statement, nullptr) == SQLITE_OK &&
                     sqlite3_step(statement) == SQLITE_ROW;
  sqlite3_finalize(statement);
  statement = nullptr;
  if (opens && sqlite3_prepare_v2(db, "PRAGMA page_size", -1, &statement, nullptr) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW)
    found = static_cast<std::uint32_t>(sqlite3_column_int(statement, 0));
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return found;
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(database_header) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  auto header = sqlite::parse_database_header(input);
  if (!header) return;
  require(sqlite::has_database_magic(input), "a header has the magic");
  require(sqlite::is_page_size(header->page_size), "a database has a page size");
  for (std::uint64_t size : {std::uint64_t{0}, std::uint64_t{input.size()}, UINT64_MAX})
    require(header->size_field_valid() || header->size_in_pages(size).value <= UINT32_MAX, "a size");
  if (header->is_wal()) return;  // opened without its WAL, SQLite gives no answer
  const std::uint32_t found = sqlite_page_size(input.first(sqlite::kDatabaseHeaderSize), header->page_size);
  require(found == 0 || found == header->page_size, "SQLite sees the same page size");
}
