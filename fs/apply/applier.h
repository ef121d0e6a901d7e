// Applies one replicated database's log on a replica, in order. Change sets that wait are merged up to a
// limit and made visible together, so that a replica that is behind writes each page once and takes each lock
// once for many of them; one that is not behind has one at a time.
//
// A database that applications have open in WAL mode is *warm*: change sets are appended to its WAL.
// Otherwise they are written to its file under SQLite's locks. The log is read here by a reader of our own,
// so that none waits in memory but those being merged.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "fs/apply/merged_change_sets.h"
#include "fs/apply/mount_threads.h"
#include "fs/apply/rollback_writer.h"
#include "fs/apply/wal_appender.h"
#include "fs/database.h"
#include "replication/base/mutex.h"
#include "replication/log/reader.h"

namespace rillfs {
class Databases;
}

namespace rillfs::apply {

struct ApplierOptions {
  bool candidate = false;
  /// The replica's WAL may grow to this many bytes while a reader keeps it from starting anew; then applying
  /// pauses (the log goes on) and status says so.
  std::uint64_t wal_limit_bytes = std::uint64_t{4} << 30;
  /// Frames in the WAL at which a checkpoint is worth it.
  std::uint32_t checkpoint_frames = 1000;
};

/// Threads: apply, warm, cool, rename, close run on the strand; the rest anywhere.
class Applier : public std::enable_shared_from_this<Applier> {
 public:
  Applier(Databases& databases, std::shared_ptr<Database> database, MountThreads& threads,
          std::string mountpoint, ApplierOptions options);

  const MountThreads::Strand& strand() const { return strand_; }
  bool is_warm() const { return warm_; }
  /// Why nothing is applied at the moment; empty when all is well.
  std::string obstacle() const;

  void apply();
  /// Has apply() called on the strand, once for all calls until it begins. Any thread.
  void apply_soon();
  void warm(const std::function<void()>& done);
  void cool();
  /// Renames the database's files in the mount; tries again until that succeeds or another name is asked for.
  void rename(const std::string& new_path);
  /// Another database has come to `path` and moved this one aside. The primary gives no name to two: one of
  /// them is about to be renamed or dropped. Returns when the name is free, unless another one is asked for.
  void give_way(const std::string& path);
  /// Gives its files the mode and owner that the database has on the primary.
  void set_attributes();
  /// Removes them.
  Result<void> remove();
  /// Lets go of everything in the mount; checkpoints and takes the WAL away where nobody else has it open.
  void close();

 private:
  std::string path() const { return mountpoint_ + "/" + database_->path(); }
  Result<bool> apply_next();
  Result<bool> read_next();
  Result<void> gather();
  Result<void> apply_merged();
  Result<void> apply_alone(const log::RecordInfo& record);
  Result<void> show(PageSource& pages, const log::RecordInfo& record);
  bool goes_to_wal() const;
  void make_log_durable();
  Result<void> append(PageSource& pages, const log::RecordInfo& record);
  Result<void> require_room(const log::RecordInfo& record) const;
  Result<void> write(PageSource& pages, const log::RecordInfo& record);
  Result<void> make_ready(const log::RecordInfo& record);
  Result<void> open_appender();
  Result<void> close_appender();
  Result<void> take_wal_away(const log::RecordInfo& record);
  bool wal_is_left() const;
  bool is_half_written() const { return writer_ && writer_->is_half_written(); }
  Result<void> move_to(const std::string& new_path);
  Result<void> move_companions();
  void go_on_for_readers();
  void settle_name();
  void wait_for_checkpoint() const;
  void checkpoint_soon(const WalState& state);
  void retry_later(const Error& error);
  void set_obstacle(std::string obstacle);

  Databases& databases_;
  const std::shared_ptr<Database> database_;
  MountThreads& threads_;
  const std::string mountpoint_;
  const ApplierOptions options_;
  const MountThreads::Strand strand_;
  SystemClock clock_;
  SystemRandom random_;
  PosixFileSystem files_;

  // The strand's.
  std::optional<log::LogReader> reader_;
  std::optional<log::RecordInfo> next_;  ///< read, neither merged nor applied yet
  MergedChangeSets merged_;              ///< what is before it, not applied yet
  std::shared_ptr<WalAppender> appender_;
  std::unique_ptr<RollbackWriter> writer_;
  bool closed_ = false;
  bool wal_mode_;  ///< as the applied page 1 says; a WAL that is in use outlives the switch from it
  Duration retry_delay_;
  bool gives_way_ = false;   ///< the name has been another database's since: taken back only when it is free
  std::string wanted_path_;  ///< the newest name that was asked for; empty: none
  std::string companions_of_;  ///< the name that -wal and -shm still have; empty: the database's own
  bool rename_scheduled_ = false;

  std::atomic<bool> warm_{false};
  std::atomic<bool> scheduled_{false};
  std::atomic<bool> posted_{false};
  std::atomic<bool> checkpointing_{false};
  std::atomic<bool> syncing_log_{false};  ///< before the next change set goes into the file
  mutable Mutex mutex_;
  std::string obstacle_ RILL_GUARDED_BY(mutex_);
  std::string name_obstacle_ RILL_GUARDED_BY(mutex_);  ///< why it does not have the name that it should have
  Monotonic obstacle_since_ RILL_GUARDED_BY(mutex_);
  bool obstacle_told_ RILL_GUARDED_BY(mutex_) = false;  ///< in the log
};

}  // namespace rillfs::apply
