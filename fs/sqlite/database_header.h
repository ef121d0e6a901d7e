// The first 100 bytes of a database file.
//
// Source: SQLite's "Database File Format", 1.3. All integers big-endian.
//
//   offset size
//        0   16  "SQLite format 3" and a zero byte
//       16    2  page size; 1 means 65536
//       18    1  write version: 1 rollback journal, 2 WAL
//       19    1  read version: 1 rollback journal, 2 WAL
//       20    1  bytes reserved at the end of each page
//       21    3  64, 32, 32
//       24    4  file change counter
//       28    4  size of the database in pages
//       92    4  change counter for which the size is valid
//       96    4  version of the library that wrote last
#pragma once

#include <cstdint>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::sqlite {

inline constexpr std::size_t kDatabaseHeaderSize = 100;
inline constexpr std::uint32_t kPageSizeMin = 512;
inline constexpr std::uint32_t kPageSizeMax = 65536;

/// A power of two from 512 to 65536.
constexpr bool is_page_size(std::uint32_t size) {
  return size >= kPageSizeMin && size <= kPageSizeMax && (size & (size - 1)) == 0;
}

struct DatabaseHeader {
  std::uint32_t page_size = 0;  ///< bytes
  std::uint8_t write_version = 1;
  std::uint8_t read_version = 1;
  std::uint8_t reserved_bytes = 0;  ///< per page
  std::uint32_t change_counter = 0;
  std::uint32_t size_field = 0;  ///< pages; counts only if `size_field_valid()`
  std::uint32_t version_valid_for = 0;

  /// SQLite opens a WAL for this database.
  bool is_wal() const { return read_version == 2; }
  /// Libraries before 3.7.0 did not maintain the size field; this is how they are told apart.
  bool size_field_valid() const { return size_field != 0 && change_counter == version_valid_for; }
  /// The size in pages, as SQLite determines it for a file of `file_size` bytes.
  Pgno size_in_pages(std::uint64_t file_size) const;
};

/// True if the bytes begin with the magic: this file is a database, perhaps a broken one.
bool has_database_magic(Bytes start_of_file);

/// Parses the first kDatabaseHeaderSize bytes of a database. kCorrupt if they are too few, or are not what
/// SQLite accepts; kUnsupported for a read version that does not exist yet.
Result<DatabaseHeader> parse_database_header(Bytes start_of_file);

}  // namespace rillfs::sqlite
