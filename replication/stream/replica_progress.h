// What a replica knows of how far it is behind its primary. Survives reconnects.
#pragma once

#include <unordered_map>
#include <vector>

#include "replication/base/clock.h"
#include "replication/base/mutex.h"
#include "replication/stream/databases.h"
#include "replication/stream/progress.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::stream {

/// Threads: any; every call takes one short lock.
class ReplicaProgress {
 public:
  explicit ReplicaProgress(const Clock& clock) : clock_(clock) {}

  /// A session begins; `databases` are the sink's complete ones. Only at the first is what is logged taken to
  /// be applied as well (recovery has seen to that); later the sink's reports count.
  void connected(const std::vector<DatabaseState>& databases);
  void disconnected();

  void announced(const DatabaseState& state);
  void dropped(DatabaseId id);
  void received(DatabaseId id, const ChangeSetInfo& info);
  void snapshot_began(DatabaseId id, std::uint32_t page_count, std::uint32_t page_size);
  void snapshot_pages(DatabaseId id, std::uint32_t count);
  void snapshot_settled(DatabaseId id, Pgno next);
  /// `exact`: nothing has to follow.
  void snapshot_ended(DatabaseId id, const Position& end, bool exact);
  void progressed(const Sink::Progress& progress);
  void heard(const wire::Heartbeat& heartbeat);
  /// Everything has been announced. The first time, the positions announced so far become the goal.
  void catalog_ended();

  /// The goal is reached: everything that the primary had at the first connection is applied here.
  bool caught_up() const;
  std::vector<DatabaseProgress> databases() const;

 private:
  struct Database {
    std::string path;
    Txid newest;
    std::uint64_t newest_offset = 0;
    Txid logged;
    Txid applied;
    std::optional<Txid> goal;  ///< to be applied for caught_up()
    std::optional<Position> at_connect;
    bool complete = false;  // no snapshot is outstanding
    std::int64_t behind_since_ms = 0;
    PendingChangeSets pending;
    SnapshotMeter snapshot;
  };
  std::int64_t primary_now_ms() const RILL_REQUIRES(mutex_) {
    return bounded_sum(clock_.wall_ms(), clock_offset_ms_);
  }
  void raise_newest(Database& database, Txid txid, std::uint64_t offset) RILL_REQUIRES(mutex_);
  DatabaseProgress progress(DatabaseId id, const Database& database) const RILL_REQUIRES(mutex_);

  const Clock& clock_;
  mutable Mutex mutex_;
  std::unordered_map<DatabaseId, Database> databases_ RILL_GUARDED_BY(mutex_);
  bool ever_connected_ RILL_GUARDED_BY(mutex_) = false;
  bool connected_ RILL_GUARDED_BY(mutex_) = false;
  bool has_goal_ RILL_GUARDED_BY(mutex_) = false;
  std::int64_t clock_offset_ms_ RILL_GUARDED_BY(mutex_) = 0;  // primary's wall clock less ours
  std::int64_t last_heard_ms_ RILL_GUARDED_BY(mutex_) = 0;    // Clock::elapsed_ms
};

}  // namespace rillfs::stream
