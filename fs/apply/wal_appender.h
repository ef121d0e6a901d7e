// Makes change sets visible in a WAL-mode database while applications read it: as one more SQLite writer.
//
// For each change set: take WAL_WRITE_LOCK, append its frames to -wal, enter them in the wal-index, publish
// the new header, release. Readers keep their snapshots and see the change set, whole, with their next
// transaction. Nothing is synced: after a crash of the machine the WAL is discarded and the log is replayed
// over the database file, so the WAL need not survive; after a kill, SQLite's recovery finds whole
// transactions only.
//
// The WAL is restarted from its beginning when all of it is in the database file (checkpoints do that) and no
// reader uses it; as long as that is not so, it grows.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fs/apply/descriptor.h"
#include "fs/apply/ofd_lock.h"
#include "fs/apply/page_source.h"
#include "fs/apply/shared_index.h"
#include "fs/apply/sqlite_connection.h"
#include "replication/base/clock.h"
#include "replication/base/random.h"

namespace rillfs::apply {

struct WalAppenderOptions {
  /// How long a call may wait for SQLite locks in all.
  Duration lock_wait = std::chrono::seconds(5);
  /// A restart cuts a WAL that is longer than this, bytes.
  std::uint64_t wal_size_keep = 64 << 20;
};

struct WalState {
  std::uint32_t frames = 0;      ///< committed (mxFrame)
  std::uint32_t backfilled = 0;  ///< of these, in the database file (nBackfill)
  std::uint64_t wal_bytes = 0;  ///< size of the -wal file, including what a restart left of older generations
  Pgno size;                    ///< of the database, pages
};

struct AppendResult {
  /// This change set begins a new generation of the WAL: everything before it is in the database file, so the
  /// position before it is the new replay base.
  bool restarted = false;
  WalState state;
};

enum class CloseMode {
  kKeepWal,             ///< leave the WAL and its frames
  kCheckpointAndDelete  ///< close as an application does: if nobody else has it open, the WAL is gone after
};

/// Threads: one at a time, except `checkpoint_passive` and `state`, which any thread may call at any time
/// before `close`. All of them may wait for SQLite locks: only for threads that may use the mount.
class WalAppender {
 public:
  /// Opens an existing WAL-mode database by path. `clock` and `random` must outlive the appender. Errors as
  /// SqliteConnection::open.
  static Result<std::unique_ptr<WalAppender>> open(const std::string& path, const WalAppenderOptions& options,
                                                   const Clock& clock, Random& random);
  /// As `close(kKeepWal)`.
  ~WalAppender() = default;

  /// Makes one change set visible, after which the database has `commit` pages (> 0). It must be the
  /// successor of what is visible: an older one would mix with newer pages. On any error nothing of it is
  /// visible. kBusy: an application held the write lock for too long; kCorrupt: the pages are no change set
  /// of this database, or WAL and wal-index do not fit together; kInvalid or kNotFound: the database was
  /// replaced or removed, open it again. A change set without pages that keeps the size does nothing.
  Result<AppendResult> append(PageSource& pages, Pgno commit);

  /// Keeps WAL_WRITE_LOCK between appends, so that applications that write get SQLITE_BUSY and go on waiting
  /// until it is given up. Waits for a writer that is at it. Idempotent.
  Result<void> hold_writer_lock(bool hold);

  /// A PASSIVE checkpoint: waits for nobody. kBusy if another one is running. If `checkpointed` equals
  /// `in_wal`, the database file is complete and synced.
  Result<CheckpointResult> checkpoint_passive() { return sqlite_->checkpoint_passive(); }

  /// kBusy if the index is being published or recovered for longer than a moment.
  Result<WalState> state() const;

  /// An application that has the database open in WAL mode, whether it is reading or not. As long as there is
  /// one the WAL stays, whatever `close` is asked for.
  Result<std::optional<LockHolder>> other_user() const;

  /// Ends it; only destruction may follow. Gives up the writer lock.
  Result<void> close(CloseMode mode);

  std::uint32_t page_size() const { return sqlite_->page_size(); }

 private:
  WalAppender(std::unique_ptr<SqliteConnection> sqlite, Descriptor database, Descriptor wal, Descriptor shm,
              SharedIndex index, const WalAppenderOptions& options, const Clock& clock, Random& random);

  Result<void> check_files() const;
  /// Takes the write lock, and has the index recovered if it needs to be. The header is the published one.
  Result<sqlite::WalIndexHeader> lock_for_writing();
  Result<void> check_last_frame(const sqlite::WalIndexHeader& header) const;
  Result<AppendResult> append_locked(PageSource& pages, Pgno commit, sqlite::WalIndexHeader header);
  /// True if the WAL begins anew, which `header` then says.
  Result<bool> try_restart(sqlite::WalIndexHeader& header);
  Result<sqlite::WalHeader> next_generation(const sqlite::WalIndexHeader& header) const;
  Result<WalState> state_of(const sqlite::WalIndexHeader& header) const;

  // Constant after construction. The connection is closed first (it is the last member), the descriptors
  // after it: closing them earlier would drop the connection's locks.
  const WalAppenderOptions options_;
  const Clock& clock_;
  Random& random_;
  const Descriptor database_;
  const Descriptor wal_;
  const Descriptor shm_;
  FileIdentity database_identity_;
  FileIdentity wal_identity_;
  // The appending thread's.
  SharedIndex index_;  // its header may be read by any thread
  Buffer buffer_;
  OfdLock write_lock_;
  bool hold_ = false;

  const std::unique_ptr<SqliteConnection> sqlite_;
};

}  // namespace rillfs::apply
