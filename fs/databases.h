// All databases of this node: by name for the mount, by id for streaming.
//
// On the primary this is the Source that the publisher reads, on a replica the Sink that the subscriber
// fills. What has to go through the mount (applying, installing, renaming and removing on a replica;
// reconciling and repairing a wal-index on the primary) is handed to MountWork.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "fs/attached_record.h"
#include "fs/capture/wal_follower.h"
#include "fs/database.h"
#include "fs/delayed_tasks.h"
#include "fs/dropped_databases.h"
#include "fs/environment.h"
#include "fs/rename_record.h"
#include "fs/snapshot_receiver.h"
#include "replication/base/mutex.h"
#include "replication/base/worker_pool.h"
#include "replication/stream/databases.h"

namespace rillfs {

class MountWork;

/// What a node's databases need to know about the node.
struct NodeView {
  std::function<std::string()> primary_address = [] { return std::string(); };
  /// Milliseconds that this replica is behind; 0 on a primary.
  std::function<std::int64_t()> lag_ms = [] { return std::int64_t{0}; };
  bool candidate = false;
  /// Instead of what the primary says, on a replica.
  std::optional<std::uint32_t> owner, group, mode;
};

/// Threads: any of descriptor table 0.
/// The number by which the mount knows the tree's root directory; every other directory goes by its inode.
inline constexpr std::uint64_t kRootInode = 1;

class Databases final : public stream::Source, public stream::Sink {
 public:
  Databases(Environment& environment, NodeView node);
  ~Databases() override;

  /// Brings every database in the data directory to its log's end. Before the mount is there.
  Result<void> recover();
  /// On the primary, after recover: databases that lie in the tree without a log become replicated ones.
  Result<void> adopt_found();
  /// Where work on the mount goes; null until the mount is there and after it has gone.
  void use(MountWork* work) { work_ = work; }
  /// After the mount has gone: makes the next start a quick one.
  void close();

  bool is_primary() const { return environment_.primary; }
  bool is_candidate() const { return node_.candidate; }
  std::string primary_address() const { return node_.primary_address(); }
  std::int64_t lag_ms() const { return node_.lag_ms(); }
  Environment& environment() { return environment_; }
  std::vector<std::shared_ptr<Database>> all() const;

  // --- databases that are out of service (out_of_service.cc), constant after recovery ---
  struct OutOfService {
    DatabaseId id;     ///< 0: a file whose log cannot be told
    std::string path;  ///< empty: its name cannot be read
    std::string why;   ///< what is damaged, and what to do
  };
  const std::vector<OutOfService>& out_of_service() const { return out_of_service_; }
  /// EIO if `path` is the name of such a database or of one of its companions, or, with `below`, a directory
  /// that has one below it.
  Result<void> require_in_service(const std::string& path, bool below = false) const;

  // --- names, for the mount ---
  std::shared_ptr<Database> find(std::uint64_t parent_inode, const std::string& name) const;
  std::shared_ptr<Database> find_by_low_bits(std::uint64_t bits) const;
  std::shared_ptr<Database> find_by_id(DatabaseId id) const;
  /// Is `name` an empty file or one with SQLite's magic?
  bool could_be_database(int parent_fd, const std::string& name) const;
  /// The database of this name, made if the file could be one. Null if not.
  std::shared_ptr<Database> adopt(std::uint64_t parent_inode, int parent_fd, const std::string& name,
                                  const std::string& path);
  /// The name is gone (removed, or renamed over): if a database was there it is dropped.
  void drop(std::uint64_t parent_inode, const std::string& name);
  using Place = std::pair<std::uint64_t, std::string>;  ///< inode of the directory, name in it
  struct Rename {
    Place from, to;
    std::string path, new_path;
    std::uint64_t inode = 0;  ///< of what is renamed: a database, another file, or a directory
    bool is_directory = false;
  };
  /// `perform` renames in the tree. If databases are part of it, it is recorded before, so that they go by
  /// their files' names whenever the node dies. Fails only where nothing was renamed. The caller lets one in
  /// at a time (databases_rename.cc).
  Result<void> rename(const Rename& rename, const Database::Perform& perform);
  /// `unlink` removes the super-journal of a transaction over several databases: that commits it in all of
  /// them (databases_attached.cc).
  Result<void> commit_attached(const std::string& super_journal, const Database::Perform& unlink);
  /// Replicated ones.
  bool any_below(const std::string& directory) const;
  /// Those that may become replicated, too.
  std::vector<std::shared_ptr<Database>> placed_below(const std::string& directory) const;
  /// The daemon creates a name through the mount: puts the file there that was prepared for it. False if none
  /// is.
  Result<bool> install_prepared(std::uint64_t parent_inode, int parent_fd, const std::string& name,
                                const std::string& path);

  // --- work that the mount's requests start ---
  void reconcile_soon(const std::shared_ptr<Database>& database);
  /// An application has this WAL open, passed through: its commits are read along (WalFollower). `wal`: the
  /// number of its inode; `path` leads to it.
  void follow(Database& database, std::uint64_t wal, const std::string& path);
  /// Nobody has it open any more.
  void unfollow(std::uint64_t wal) { follower_.leave(wal); }
  /// A WAL could not be synced as `thread` of an application asked, since `why`: if that was for a commit,
  /// the commit is made one that never was. What the application is to be told.
  Result<void> refuse_commit(Database& database, pid_t thread, const Error& why);
  void invalidate_wal_index(const std::shared_ptr<Database>& database, std::function<void()> done);
  /// `done` when a reader that has opened it finds a WAL and a wal-index, if it needs them.
  void prepare_for_readers(const std::shared_ptr<Database>& database, std::function<void()> done);
  void readers_left(const std::shared_ptr<Database>& database);
  /// The daemon has the database's wal-index mapped.
  bool is_warm(const Database& database) const;

  // --- for MountWork ---
  struct Prepared {
    Database::Recovered recovered;
    std::string file;  ///< in the spool directory
  };
  /// Where the database's prepared file is to appear; nothing when it has, or when it was dropped before.
  std::optional<std::string> prepared_path(DatabaseId id) const;
  DelayedTasks& delayed() { return delayed_; }
  /// Runs it on a thread of table 0 that may wait for the disk. Threads: any.
  void run_on_disk(std::function<void()> task);
  /// Tells the listener. Threads: any, those of the mount's table too.
  void progressed(const Database& database);
  /// What had the name `path` in the mount was moved to `aside` for another database.
  void gave_way(const std::string& aside, const std::string& path);

  /// `ask` is called when a replica's database is damaged, and at once for those that are: the primary is to
  /// send it anew. It must not block. An empty function takes it away; then the old one no longer runs.
  void on_damage(std::function<void(DatabaseId)> ask);

  // --- stream::Source ---
  std::optional<stream::DatabaseState> find(DatabaseId id) override;
  Result<std::unique_ptr<stream::ChangeSetCursor>> follow(DatabaseId id, const Position& after) override;
  Result<std::unique_ptr<stream::SnapshotCursor>> snapshot(DatabaseId id) override;
  Result<std::unique_ptr<stream::PageSource>> pages(DatabaseId id) override;
  void listen(std::function<void(DatabaseId)> changed) override;
  std::vector<DatabaseId> withheld() override;
  bool was_dropped(DatabaseId id) override { return dropped_.contains(id); }
  // --- stream::Source and stream::Sink ---
  std::vector<stream::DatabaseState> list() override;
  // --- stream::Sink ---
  Result<void> announce(const stream::DatabaseInfo& info) override;
  Result<void> drop(DatabaseId id, bool unknown) override;
  Result<void> begin_snapshot(const stream::DatabaseInfo& info, const Position& start,
                              std::uint32_t page_size, Pgno page_count, stream::History history) override;
  Result<void> begin_difference(const stream::DatabaseInfo& info, const Position& start,
                                std::uint32_t page_size, stream::History history) override;
  Result<std::vector<std::uint64_t>> page_sums(DatabaseId id, Pgno first, std::uint32_t count) override;
  Result<void> snapshot_page(DatabaseId id, Pgno pgno, Bytes page) override;
  Result<void> end_snapshot(DatabaseId id, const Position& end) override;
  Result<void> change_set(DatabaseId id, const stream::ChangeSetInfo& info, const Image& image) override;
  std::string spool_directory() const override { return environment_.spool_directory(); }
  void listen(std::function<void(const Progress&)> progressed) override;

 private:
  void register_database(const std::shared_ptr<Database>& database, DatabaseId id);
  /// Whoever lets go of it last, its files are closed in the descriptor table where they were opened.
  std::shared_ptr<Database> own(std::unique_ptr<Database> database);
  /// The name leads to no database any more. What was there, if it was replicated; its directory is left.
  std::shared_ptr<Database> take_out(const Place& place);
  Result<RenameRecord> record_of(const Rename& rename);
  std::vector<std::shared_ptr<Database>> databases_at(const Rename& rename) const;
  void move_in_memory(const Rename& rename, RenameRecord record);
  Result<void> finish_rename();
  Result<void> settle_rename();
  std::vector<std::shared_ptr<Database>> members_of(const std::string& super_journal) const;
  Result<void> begin_settling_attached();
  Result<void> take_back_undecided(log::Log& log, DatabaseId id, const std::string& path) const;
  Result<void> end_settling_attached();
  Result<void> recover_one(DatabaseId id);
  Result<void> end_wal(Database& database, const std::string& file_path);
  Result<bool> take_over_what_was_written(Database& database, const std::string& file_path);
  /// What recovering one database met: the others go on. Any other error ends the start.
  Result<void> met_damage(DatabaseId id, const Error& error);
  void take_out_of_service(OutOfService database);
  Result<void> park_damaged(DatabaseId id, const Error& error);
  Result<void> empty_leftovers();
  Result<void> set_apart(const std::string& directory, DatabaseId id, const std::string& why);
  void adopt_at_start(std::uint64_t parent, int parent_fd, const std::string& name, const std::string& path);
  void adopt_below(const std::string& directory, const std::string& relative);
  // databases_tail.cc
  WalFollower::Help follower_help();
  Environment::PublishedIndex published_index(Database& database);
  void ask_wal_index(const std::shared_ptr<Database>& database);
  /// `task` answers a request, which needs the device: not a thing for the mount's threads.
  std::function<void()> on_worker(std::function<void()> task);
  void advance_base_soon(DatabaseId id);
  /// `key`: what the database goes by among those on their way, also when it is gone.
  void try_reconcile(const Database* key, const std::weak_ptr<Database>& database);
  void notify(DatabaseId id);
  stream::DatabaseInfo with_overrides(stream::DatabaseInfo info) const;
  void report(const Database& database);
  Result<void> park_what_is_beyond(Database& database, const Position& start, stream::History history);
  Result<std::unique_ptr<SnapshotReceiver>> new_receiver(const stream::DatabaseInfo& info,
                                                         const Position& start, std::uint32_t page_size);
  std::shared_ptr<SnapshotReceiver> receiver(DatabaseId id) const;
  Result<void> finish_snapshot(DatabaseId id);
  void prepare(Prepared prepared);
  std::optional<Prepared> take_prepared(DatabaseId id);
  Result<void> discard(Prepared prepared);
  Result<std::shared_ptr<File>> put_in_place(const Prepared& prepared, int parent_fd,
                                             const std::string& path);
  /// Null if this node does not have it; kBusy while its first snapshot is being put in place.
  Result<std::shared_ptr<Database>> installed(DatabaseId id) const;

  Environment& environment_;
  const NodeView node_;
  std::atomic<MountWork*> work_{nullptr};

  std::vector<OutOfService> out_of_service_;  ///< constant after recovery
  DroppedDatabases dropped_;

  Mutex attached_mutex_;  ///< one transaction over several databases at a time; taken before all others
  mutable Mutex mutex_ RILL_ACQUIRED_AFTER(attached_mutex_);  ///< Database's locks come before it, too
  std::map<Place, std::shared_ptr<Database>> by_place_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::shared_ptr<Database>> by_id_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, std::shared_ptr<SnapshotReceiver>> receiving_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<std::uint64_t, Prepared> prepared_ RILL_GUARDED_BY(mutex_);
  /// Prepared, or taken from there, and not yet in the tree.
  std::unordered_set<std::uint64_t> installing_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<const Database*, bool> reconciling_ RILL_GUARDED_BY(mutex_);

  /// A rename that was made in the tree and is not on disk everywhere else. Only within `rename`.
  struct UnfinishedRename {
    RenameRecord record;
    std::vector<std::shared_ptr<Database>> moved;
    std::shared_ptr<Database> replaced;  ///< null for none
  };
  std::optional<UnfinishedRename> unfinished_;

  /// Found by recovery, and only during it: databases that must not have more than they had before.
  std::optional<AttachedRecord> attached_;

  Mutex listeners_mutex_;  ///< held while a listener runs, taken inside Database's
  std::function<void(DatabaseId)> changed_ RILL_GUARDED_BY(listeners_mutex_);
  std::function<void(const Progress&)> progressed_ RILL_GUARDED_BY(listeners_mutex_);
  std::function<void(DatabaseId)> damaged_ RILL_GUARDED_BY(listeners_mutex_);

  std::atomic<int> index_readers_{0};  ///< threads that wait for `published_index`
  WorkerPool workers_;                 ///< upkeep that may block on disk
  DelayedTasks delayed_;
  WalFollower follower_;
};

}  // namespace rillfs
