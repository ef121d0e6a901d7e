// One connected subscriber, as the publisher serves it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "replication/base/mutex.h"
#include "replication/node.h"
#include "replication/stream/feeder.h"
#include "replication/stream/replica_record.h"
#include "replication/wire/session.h"

namespace rillfs::stream {

/// Databases that have changed, in the order in which that was first reported, each once. Threads: any.
class ChangedDatabases {
 public:
  /// True if there was none before: then somebody has to be woken.
  bool put(DatabaseId id);
  std::vector<DatabaseId> take();

 private:
  Mutex mutex_;
  std::vector<DatabaseId> order_ RILL_GUARDED_BY(mutex_);
  std::unordered_set<DatabaseId> known_ RILL_GUARDED_BY(mutex_);
};

/// Threads: network, but for changed().
class Subscription : public std::enable_shared_from_this<Subscription> {
 public:
  struct Environment {
    Node& node;
    Source& source;
    const Clock& clock;
    wire::Executor network;
    wire::Executor workers;
    wire::TaskGroup& tasks;
    std::string advertise_address;
    /// Makes the record of a subscriber that has been accepted. Called once, on the network thread.
    std::function<std::shared_ptr<ReplicaRecord>(const PeerIdentity&)> admit;
  };

  Subscription(Environment environment, std::shared_ptr<wire::Session> session);

  /// Serves the subscriber until the session ends.
  wire::Task<void> run();
  /// A database has changed. Threads: any. Never blocks.
  void changed(DatabaseId id);
  void close(Error why) { session_->close(std::move(why)); }
  /// 0 before the handshake.
  NodeId node() const { return record_ ? record_->node() : NodeId{}; }

 private:
  wire::Task<Result<void>> greet();
  wire::Task<Result<std::unordered_map<DatabaseId, Position>>> receive_have();
  wire::Task<void> feed();
  wire::Task<void> send_heartbeats();
  wire::Task<void> listen();
  Result<void> handle(wire::Frame frame);
  Result<void> handle_resync(const wire::Resync& resync);

  Environment environment_;
  const std::shared_ptr<wire::Session> session_;
  ChangedDatabases changed_;
  std::shared_ptr<ReplicaRecord> record_;
  std::unique_ptr<Feeder> feeder_;               // used by one worker at a time, for feed()
  std::uint32_t version_ = 0;                    // of the protocol that both speak
  std::unordered_map<DatabaseId, bool> resync_;  // asked for; true: a whole snapshot
  std::vector<wire::Frame> sums_;                // answers, for the feeder
  bool retry_ = false;
};

}  // namespace rillfs::stream
