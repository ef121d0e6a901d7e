// One real sqlite3* connection to a WAL-mode database, for what SQLite itself does best: create and recover
// the wal-index, checkpoint, and keep the WAL alive when the last application closes.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "replication/base/clock.h"
#include "replication/base/error.h"
#include "replication/base/mutex.h"

struct sqlite3;

namespace rillfs::apply {

/// What a checkpoint found and did, in frames.
struct CheckpointResult {
  std::uint32_t in_wal = 0;
  std::uint32_t checkpointed = 0;
};

/// Threads: any; calls are serialised.
class SqliteConnection {
 public:
  /// Opens an existing database and reads from it, which creates or recovers the wal-index. kInvalid if it is
  /// not in WAL mode, kBusy if somebody recovers or holds an exclusive lock for longer than `busy_wait`.
  static Result<std::unique_ptr<SqliteConnection>> open(const std::string& path, Duration busy_wait);
  /// Leaves the WAL as it is, without a checkpoint.
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  /// One short read transaction. Recovers the wal-index if its header does not verify, for which nobody may
  /// hold WAL_WRITE_LOCK.
  Result<void> read();
  Result<CheckpointResult> checkpoint_passive();
  /// Closes as an application would: whoever is last checkpoints and deletes the WAL.
  Result<void> close_as_application();

  std::uint32_t page_size() const { return page_size_; }
  /// The database file without symbolic links, as SQLite opened it; companions are beside it.
  const std::string& file() const { return file_; }

 private:
  SqliteConnection() = default;
  Result<void> connect(const std::string& path, Duration busy_wait);
  Result<void> run(const char* sql, std::string* first_column);
  Error error(int code, const char* what) const RILL_REQUIRES(mutex_);

  Mutex mutex_;  // held across SQLite calls; never by a thread that serves the mount
  sqlite3* db_ RILL_GUARDED_BY(mutex_) = nullptr;
  std::uint32_t page_size_ = 0;  // constant after open
  std::string file_;             // constant after open
};

}  // namespace rillfs::apply
