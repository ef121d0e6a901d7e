#include "cmd/sqlite_connection.h"

#include <memory>

namespace rillfs::cmd {
namespace {

constexpr int kBusyTimeoutMs = 60'000;

ErrorCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kBusy;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorrupt;
    case SQLITE_READONLY:
      return ErrorCode::kReadOnly;
    case SQLITE_FULL:
      return ErrorCode::kNoSpace;
    case SQLITE_CANTOPEN:
      return ErrorCode::kNotFound;
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

Result<SqliteConnection> SqliteConnection::open(const std::string& path, int flags) {
  sqlite3* db = nullptr;
  int failed = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
  SqliteConnection connection(db);
  if (failed != SQLITE_OK) return connection.last_error("open " + path);
  sqlite3_busy_timeout(db, kBusyTimeoutMs);
  return connection;
}

Result<void> SqliteConnection::run(const std::string& sql) {
  if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return last_error(sql);
  return {};
}

Result<std::string> SqliteConnection::value_of(const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(db_, sql.c_str(), -1, &raw, nullptr) != SQLITE_OK) return last_error(sql);
  std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(raw, sqlite3_finalize);
  int step = sqlite3_step(raw);
  if (step == SQLITE_DONE) return std::string();
  if (step != SQLITE_ROW) return last_error(sql);
  const unsigned char* text = sqlite3_column_text(raw, 0);
  return text == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(text));
}

Error SqliteConnection::last_error(const std::string& what) const {
  int code = db_ == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(db_);
  std::string message = db_ == nullptr ? "out of memory" : sqlite3_errmsg(db_);
  return make_error(code_of(code), what + ": " + message);
}

}  // namespace rillfs::cmd
