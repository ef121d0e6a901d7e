// Who this node is and which cluster it belongs to, kept in the data directory.
//
//   node.id        16 hex digits and a newline; made once, never changed
//   cluster.json   {"cluster_id": "16 hex digits", "epoch": n, "role": "primary" | "replica",
//                   "primary": "16 hex digits", "contested": bool}
//
// cluster.json is replaced atomically and synced *before* what it says is acted on, so the epoch never goes
// back, whatever crashes when.
//
// Rules. The first primary makes the cluster id, and epoch 1. A node that was a replica and starts as primary
// raises the epoch by one. Two that do so without knowing of each other may have the same epoch then: whoever
// meets both notes that the epoch is contested, until there is a newer one. A replica without a cluster
// adopts its primary's; one with a cluster follows no primary of another, so that a wrong address cannot
// replace its data. Nobody talks to its own node id.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/mutex.h"
#include "replication/base/random.h"
#include "replication/base/types.h"

namespace rillfs {

enum class Role { kNone, kPrimary, kReplica };

struct Membership {
  ClusterId cluster;
  Epoch epoch;  ///< highest seen
  Role role = Role::kNone;
  NodeId primary;          ///< of this epoch, the last one that was met; 0: not known
  bool contested = false;  ///< it has had two: what was made in it may be a branch
  friend bool operator==(const Membership&, const Membership&) = default;
};

/// What a peer says of itself in its hello.
struct PeerIdentity {
  NodeId node;
  ClusterId cluster;
  Epoch epoch;
  Role role = Role::kNone;
  std::string address;  ///< for messages
};

/// Threads: any. Calls that change the membership block on the disk.
class Node {
 public:
  /// Reads the identity, makes the node id if there is none. kCorrupt when a file is there and unreadable:
  /// never replaced, since that would be a new node with old data. `files` outlives the node.
  static Result<std::unique_ptr<Node>> open(FileSystem& files, std::string directory, Random& random);

  NodeId id() const { return id_; }
  Membership membership() const;

  /// At start, before anything is published or followed.
  Result<void> become_primary(Random& random);
  Result<void> become_replica();

  /// On a replica, of the primary it has reached: follow it? Adopts cluster and newer epoch, durably.
  /// kInvalid: other cluster, or ourselves; kFenced: its epoch is older than ours; kReadOnly: no primary.
  Result<void> meet_primary(const PeerIdentity& peer);
  /// On a primary, of a subscriber: serve it? kInvalid, kReadOnly as above; kFenced when it has seen a newer
  /// epoch than ours, which is also reported.
  Result<void> meet_subscriber(const PeerIdentity& peer);

  /// Called, on the thread that met the peer, when this primary hears of a newer epoch: somebody else has
  /// become primary. Set it before the node meets anyone.
  void on_newer_epoch(std::function<void(Epoch seen, const PeerIdentity& by)> report) {
    newer_epoch_ = std::move(report);
  }

 private:
  Node(FileSystem& files, std::string directory, NodeId id, Membership membership)
      : files_(files), directory_(std::move(directory)), id_(id), membership_(membership) {}

  Result<void> persist(const Membership& next) RILL_REQUIRES(mutex_);

  FileSystem& files_;
  const std::string directory_;
  const NodeId id_;
  std::function<void(Epoch, const PeerIdentity&)> newer_epoch_;
  mutable Mutex mutex_;
  Membership membership_ RILL_GUARDED_BY(mutex_);
};

}  // namespace rillfs
