// The primary's side of streaming: listens, and feeds every subscriber at its own pace.
//
// A subscriber says where its databases stand; each is then followed from there or, where the log does not
// reach back, sent as a snapshot first (feeder.h). A commit is on the wire as soon as Source::listen reports
// it and a worker has read it. Subscribers of another cluster are refused before any of their databases is
// looked at: only members are ever told to drop one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "replication/base/clock.h"
#include "replication/node.h"
#include "replication/stream/databases.h"
#include "replication/stream/replica_record.h"
#include "replication/wire/session.h"

namespace rillfs::stream {

struct PublisherOptions {
  wire::Address listen;
  std::string advertise_address;  ///< HOST:PORT told to subscribers
  wire::SessionOptions session;
  std::size_t subscriber_count_max = 256;
};

/// Threads: start() and stop() from the owner's, never the network thread; the rest from any.
class Publisher {
 public:
  /// `network` is one thread; `workers` may block on disks. Everything outlives the publisher, and both
  /// executors run until stop() has returned.
  Publisher(Node& node, Source& source, wire::Transport& transport, const Clock& clock,
            wire::Executor network, wire::Executor workers, PublisherOptions options);
  ~Publisher();

  /// Listens. The node is primary already.
  Result<void> start();
  /// Ends every session; when it returns nothing of this runs. Once.
  void stop();

  /// Where it listens, once started.
  wire::Address address() const;
  /// Connected subscribers, and those that have been here within the last hour.
  std::vector<ReplicaStatus> status() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rillfs::stream
