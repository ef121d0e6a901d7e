// What the daemon does through its own mount, on the threads that may (fs/apply/mount_threads.h).
//
// On a replica: one Applier a database, each on a strand of its own. On the primary: taking the locks for a
// reconcile, and repairing a wal-index.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "fs/apply/applier.h"
#include "fs/apply/mount_threads.h"
#include "fs/databases.h"
#include "fs/sqlite/wal_index.h"
#include "replication/base/mutex.h"

namespace rillfs {

struct MountWorkOptions {
  std::string mountpoint;
  apply::ApplierOptions applier;
};

/// Who is writing to a WAL.
struct WalWriter {
  bool known = false;           ///< there is a wal-index to ask
  pid_t process = 0;            ///< 0: nobody; -1: somebody who cannot be told
  std::uint32_t max_frame = 0;  ///< published so far
  pid_t checkpointer = 0;       ///< who holds the lock for checkpoints, as `process`
};

/// Threads: any may call; the work runs on the mount's threads.
class MountWork {
 public:
  MountWork(Databases& databases, apply::MountThreads& threads, MountWorkOptions options);
  ~MountWork();

  // --- replica ---
  /// The database's log has more than has been applied.
  void apply(const std::shared_ptr<Database>& database);
  /// `done` when its WAL and wal-index are there, if it is in WAL mode.
  void warm(const std::shared_ptr<Database>& database, std::function<void()> done);
  /// No application has it open any more: go back to writing its file, unless one comes back.
  void cool(const std::shared_ptr<Database>& database);
  bool is_warm(const Database& database) const;
  /// Applying waits for something, perhaps for an application.
  bool is_waiting(const Database& database) const;
  /// The database's prepared file is to appear in the mount.
  void install(DatabaseId id);
  /// Tried again until it succeeds or another name is asked for.
  void rename(const std::shared_ptr<Database>& database, std::string new_path);
  /// It was moved aside for another database, which has `path` now.
  void give_way(const std::shared_ptr<Database>& database, std::string path);
  /// Gives its files the mode and owner that its info says.
  void set_attributes(const std::shared_ptr<Database>& database);
  void remove(const std::shared_ptr<Database>& database);
  /// Reasons why databases are not applied at the moment, by id.
  std::unordered_map<std::uint64_t, std::string> obstacles() const;

  // --- primary ---
  /// Holds SQLite's SHARED lock on the database while `work` runs; `done(false)` if a writer was in the way.
  void with_shared_lock(const std::shared_ptr<Database>& database, std::function<void()> work,
                        std::function<void(bool locked)> done);
  /// Nothing where none is published, or it cannot be read.
  void read_wal_index(const std::shared_ptr<Database>& database,
                      std::function<void(const std::optional<sqlite::WalIndexHeader>&)> done);
  void find_wal_writer(const std::shared_ptr<Database>& database, std::function<void(const WalWriter&)> done);
  void invalidate_wal_index(const std::shared_ptr<Database>& database, std::function<void()> done);

  /// Ends the appliers: lets go of every lock and file in the mount. Applications must have left by then, or
  /// they keep what they have open.
  void stop();

 private:
  std::shared_ptr<apply::Applier> applier(const std::shared_ptr<Database>& database);
  std::shared_ptr<apply::Applier> existing_applier(const Database& database) const;
  std::string mounted(const std::string& path) const { return options_.mountpoint + "/" + path; }
  void install_now(DatabaseId id);

  Databases& databases_;
  apply::MountThreads& threads_;
  const MountWorkOptions options_;

  mutable Mutex mutex_;
  std::unordered_map<const Database*, std::shared_ptr<apply::Applier>> appliers_ RILL_GUARDED_BY(mutex_);
  bool stopping_ RILL_GUARDED_BY(mutex_) = false;
};

}  // namespace rillfs
