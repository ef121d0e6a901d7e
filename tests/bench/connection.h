// The little of SQLite that the load generator needs: a connection and a prepared statement that end the
// program when something fails, since a benchmark that goes on after an error measures nothing.
#pragma once

#include <sqlite3.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace rillfs::bench {

/// CLOCK_MONOTONIC, nanoseconds.
inline std::int64_t now_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

[[noreturn]] inline void give_up(const std::string& what) {
  std::fprintf(stderr, "bench: %s\n", what.c_str());
  std::exit(1);
}

/// One open database. Threads: one.
class Connection {
 public:
  explicit Connection(const std::string& path) : path_(path) {
    if (sqlite3_open_v2(path.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr) != SQLITE_OK)
      fail("open");
    sqlite3_busy_timeout(db_, 10'000);
  }
  ~Connection() { sqlite3_close(db_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::string& path() const { return path_; }
  void run(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) fail(sql);
  }
  [[noreturn]] void fail(const std::string& what) const {
    give_up(path_ + ": " + what + ": " + (db_ != nullptr ? sqlite3_errmsg(db_) : "no memory"));
  }
  sqlite3* get() const { return db_; }

 private:
  std::string path_;
  sqlite3* db_ = nullptr;
};

/// A prepared statement, run again and again. Must not outlive its connection.
class Statement {
 public:
  Statement(Connection& connection, const char* sql) : connection_(connection) {
    if (sqlite3_prepare_v3(connection.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) !=
        SQLITE_OK)
      connection.fail(sql);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  Statement& bind(int index, std::int64_t value) {
    sqlite3_bind_int64(statement_, index, value);
    return *this;
  }
  Statement& bind(int index, const std::string& value) {
    sqlite3_bind_text(statement_, index, value.data(), static_cast<int>(value.size()), SQLITE_STATIC);
    return *this;
  }
  Statement& bind_blob(int index, const char* data, std::int64_t size) {
    sqlite3_bind_blob64(statement_, index, data, static_cast<sqlite3_uint64>(size), SQLITE_STATIC);
    return *this;
  }
  /// Runs it to its end; returns the first column of its last row.
  std::int64_t run() {
    std::int64_t value = 0;
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement_)) == SQLITE_ROW) value = sqlite3_column_int64(statement_, 0);
    if (sqlite3_reset(statement_) != SQLITE_OK || code != SQLITE_DONE)
      connection_.fail(sqlite3_sql(statement_));
    return value;
  }
  /// As run, without a value. False: the database stayed locked for longer than the busy timeout.
  bool try_run() {
    int code = SQLITE_ROW;
    while ((code = sqlite3_step(statement_)) == SQLITE_ROW) {
    }
    sqlite3_reset(statement_);
    if ((code & 0xff) == SQLITE_BUSY) return false;
    if (code != SQLITE_DONE) connection_.fail(sqlite3_sql(statement_));
    return true;
  }
  /// Runs it up to its first row and leaves it there: the read transaction stays open.
  void hold() {
    if (sqlite3_step(statement_) != SQLITE_ROW) connection_.fail(sqlite3_sql(statement_));
  }
  void let_go() { sqlite3_reset(statement_); }

 private:
  Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
};

}  // namespace rillfs::bench
