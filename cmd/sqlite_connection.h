// One SQLite connection, with errors as values. Threads: one at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>

#include "replication/base/error.h"

namespace rillfs::cmd {

class SqliteConnection {
 public:
  /// `flags` as for sqlite3_open_v2. Waits up to a minute for locks of others.
  static Result<SqliteConnection> open(const std::string& path, int flags);
  SqliteConnection(SqliteConnection&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  SqliteConnection& operator=(SqliteConnection&&) = delete;
  ~SqliteConnection() { sqlite3_close_v2(db_); }

  Result<void> run(const std::string& sql);
  /// First column of the first row; empty if there is none.
  Result<std::string> value_of(const std::string& sql);
  /// The connection's last error as an Error: kBusy, kCorrupt, kReadOnly, kNoSpace or kIo.
  Error last_error(const std::string& what) const;
  sqlite3* get() const { return db_; }

 private:
  explicit SqliteConnection(sqlite3* db) : db_(db) {}
  sqlite3* db_;
};

}  // namespace rillfs::cmd
