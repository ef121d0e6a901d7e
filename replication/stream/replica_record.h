// What the primary knows of one replica, for as long as it is connected and an hour after.
#pragma once

#include <unordered_map>

#include "replication/base/clock.h"
#include "replication/base/mutex.h"
#include "replication/stream/databases.h"
#include "replication/stream/progress.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::stream {

struct ReplicaStatus {
  NodeId node;
  std::string address;  ///< what it advertises, or where it connected from
  bool connected = false;
  std::int64_t since_ms = 0;  ///< connected, or gone, since; wall clock
  std::vector<DatabaseProgress> databases;
};

/// Threads: any; every call takes one short lock.
class ReplicaRecord {
 public:
  ReplicaRecord(NodeId node, std::string address, const Clock& clock);

  /// Streaming: what the replica has, and what has been put on its way.
  void announced(const DatabaseState& state);
  void starts_at(DatabaseId id, const Position& logged);
  void dropped(DatabaseId id);
  void sent(DatabaseId id, const ChangeSetInfo& info);
  void snapshot_began(DatabaseId id, const Position& start, std::uint32_t page_count,
                      std::uint32_t page_size);
  void snapshot_pages(DatabaseId id, std::uint32_t count);
  /// Of a snapshot by difference: before `next` all is the same, or has been sent.
  void snapshot_settled(DatabaseId id, Pgno next);
  void snapshot_ended(DatabaseId id);
  /// A database has changed and will be read; the lag counts from here until it is sent.
  void noticed(DatabaseId id);

  /// The replica says so. A database that is not known here is ignored: it may just have been dropped.
  void acknowledged(DatabaseId id, Txid logged, Txid applied);

  /// Databases of which not everything has been sent, at most `count_max`.
  void add_backlog(wire::Heartbeat& heartbeat, std::size_t count_max) const;

  void gone();
  bool is_gone() const;
  std::int64_t gone_ms() const;
  NodeId node() const { return node_; }
  /// `databases` is the primary's list now.
  ReplicaStatus status(const std::vector<DatabaseState>& databases) const;

 private:
  struct Database {
    DatabaseState newest;
    Txid sent;
    Txid logged;
    Txid applied;
    std::optional<std::int64_t> behind_since_ms;  // noticed and not sent
    PendingChangeSets pending;
    SnapshotMeter snapshot;
  };
  DatabaseProgress progress(const Database& database, const DatabaseState& now) const RILL_REQUIRES(mutex_);

  const NodeId node_;
  const std::string address_;
  const Clock& clock_;
  mutable Mutex mutex_;
  std::unordered_map<DatabaseId, Database> databases_ RILL_GUARDED_BY(mutex_);
  bool gone_ RILL_GUARDED_BY(mutex_) = false;
  std::int64_t since_ms_ RILL_GUARDED_BY(mutex_);        // connected, or gone, since; wall clock
  std::int64_t gone_at_ms_ RILL_GUARDED_BY(mutex_) = 0;  // Clock::elapsed_ms
};

}  // namespace rillfs::stream
