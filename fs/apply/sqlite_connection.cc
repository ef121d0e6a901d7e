#include "fs/apply/sqlite_connection.h"

#include <sqlite3.h>

#include <charconv>
#include <mutex>
#include <utility>

namespace rillfs::apply {
namespace {

ErrorCode code_of(int sqlite_code) {
  switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return ErrorCode::kBusy;
    case SQLITE_FULL:
      return ErrorCode::kNoSpace;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return ErrorCode::kCorrupt;
    case SQLITE_READONLY:
      return ErrorCode::kReadOnly;
    default:
      return ErrorCode::kIo;
  }
}

/// SQLite sets memory aside for the cache of each connection, 20 pages, and ours never reads as many.
void keep_caches_small() {
  static std::once_flag once;
  std::call_once(once, [] { sqlite3_config(SQLITE_CONFIG_PAGECACHE, nullptr, 0, 0); });
}

}  // namespace

Error SqliteConnection::error(int code, const char* what) const {
  std::string message = std::string(what) + ": " + sqlite3_errstr(code);
  if (db_ != nullptr) message += std::string(" (") + sqlite3_errmsg(db_) + ")";
  return Error{code_of(code), db_ == nullptr ? 0 : sqlite3_system_errno(db_), std::move(message)};
}

Result<void> SqliteConnection::connect(const std::string& path, Duration busy_wait) {
  Lock lock(mutex_);
  keep_caches_small();
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, kFlags, nullptr);
  if (code != SQLITE_OK) return error(code, "open database").with(path);
  using std::chrono::milliseconds;
  sqlite3_busy_timeout(db_, static_cast<int>(std::chrono::duration_cast<milliseconds>(busy_wait).count()));
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_db_config(db_, SQLITE_DBCONFIG_LOOKASIDE, nullptr, 0, 0);
  // A killed or stopped service leaves the WAL to the applications, or to its own next start.
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (sqlite3_db_readonly(db_, "main") != 0) return make_error(ErrorCode::kReadOnly, path + " is read-only");
  file_ = sqlite3_db_filename(db_, "main");
  return {};
}

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::open(const std::string& path,
                                                                 Duration busy_wait) {
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection());
  RILL_TRY(connection->connect(path, busy_wait));
  std::string text;
  if (auto read = connection->read(); !read) return read.error().with(path);
  RILL_TRY(connection->run("PRAGMA journal_mode", &text));
  if (text != "wal") return make_error(ErrorCode::kInvalid, path + " is not in WAL mode but in " + text);
  RILL_TRY(connection->run("PRAGMA page_size", &text));
  std::from_chars(text.data(), text.data() + text.size(), connection->page_size_);
  return connection;
}

SqliteConnection::~SqliteConnection() {
  if (db_ != nullptr) sqlite3_close(db_);
}

Result<void> SqliteConnection::run(const char* sql, std::string* first_column) {
  Lock lock(mutex_);
  if (db_ == nullptr) return make_error(ErrorCode::kClosed, "connection is closed");
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  const bool good = code == SQLITE_ROW || code == SQLITE_DONE;
  if (code == SQLITE_ROW && first_column != nullptr) {
    const unsigned char* text = sqlite3_column_text(statement, 0);
    *first_column = text == nullptr ? "" : reinterpret_cast<const char*>(text);
  }
  Result<void> result;
  if (!good) result = error(code, sql);
  sqlite3_finalize(statement);
  return result;
}

// Reads page 1 only: the schema is the application's and may need functions that we do not have.
Result<void> SqliteConnection::read() { return run("PRAGMA schema_version", nullptr); }

Result<CheckpointResult> SqliteConnection::checkpoint_passive() {
  Lock lock(mutex_);
  if (db_ == nullptr) return make_error(ErrorCode::kClosed, "connection is closed");
  int in_wal = 0;
  int checkpointed = 0;
  const int code = sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_PASSIVE, &in_wal, &checkpointed);
  if (code != SQLITE_OK) return error(code, "checkpoint");
  return CheckpointResult{static_cast<std::uint32_t>(in_wal < 0 ? 0 : in_wal),
                          static_cast<std::uint32_t>(checkpointed < 0 ? 0 : checkpointed)};
}

Result<void> SqliteConnection::close_as_application() {
  Lock lock(mutex_);
  if (db_ == nullptr) return {};
  sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, nullptr);
  const int code = sqlite3_close(db_);
  if (code != SQLITE_OK) return error(code, "close");
  db_ = nullptr;
  return {};
}

}  // namespace rillfs::apply
