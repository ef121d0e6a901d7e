// The replica's side of streaming: keeps a connection to the primary and hands what arrives to the sink.
//
// Reconnects for ever, with a growing and jittered delay. Databases are worked on in parallel, each in order.
// Memory is bounded: what has been read and not handed on counts against a budget, and beyond it nothing is
// read; large change sets are spooled to a file. A database that does not fit what is sent gets a new
// snapshot; when there is no room, the subscriber says so and goes on by itself once there is.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "replication/base/clock.h"
#include "replication/base/file_system.h"
#include "replication/base/random.h"
#include "replication/node.h"
#include "replication/stream/databases.h"
#include "replication/stream/progress.h"
#include "replication/wire/session.h"

namespace rillfs::stream {

struct SubscriberOptions {
  wire::Address primary;
  std::string advertise_address;  ///< HOST:PORT told to the primary; may be empty
  wire::SessionOptions session;
  Duration connect_timeout = std::chrono::seconds(5);
  Duration reconnect_delay_min = std::chrono::milliseconds(100);
  Duration reconnect_delay_max = std::chrono::seconds(5);
  Duration retry_delay = std::chrono::seconds(1);  ///< when there is no room
  std::size_t unprocessed_size_max = 32u << 20;    ///< bytes read and not handed to the sink
  std::size_t image_memory_max = 1u << 20;         ///< bytes; larger images are spooled
};

struct SubscriberStatus {
  bool connected = false;
  std::string primary_address;
  std::optional<NodeId> primary_node;  ///< once met
  std::int64_t since_ms = 0;           ///< connected, or disconnected, since; wall clock
  std::string last_error;              ///< why the last session ended, or could not begin
  bool caught_up = false;              ///< has applied all that the primary had at the first connection
  std::size_t unprocessed_size = 0;    ///< bytes
  std::size_t unprocessed_size_peak = 0;
  std::vector<DatabaseProgress> databases;
};

/// Threads: start() and stop() from the owner's, never the network thread; the rest from any.
class Subscriber {
 public:
  /// `network` is one thread; `workers` may block on disks. Everything outlives the subscriber, and both
  /// executors run until stop() has returned.
  Subscriber(Node& node, Sink& sink, wire::Transport& transport, FileSystem& files, const Clock& clock,
             Random& random, wire::Executor network, wire::Executor workers, SubscriberOptions options);
  ~Subscriber();

  /// Once, with a node that is a replica already.
  void start();
  /// Ends the session; when it returns nothing of this runs. What was received and not handed on is
  /// forgotten: it comes again. Once.
  void stop();

  SubscriberStatus status() const;
  /// What is here of a database is no longer what was received: asks for a snapshot, now or once connected.
  /// After start() and before stop().
  void resync(DatabaseId id);
  /// Calls `done` once, on the network thread, when everything that the primary had at the first connection
  /// is applied; at once if it is. Before start(), or after. It must not block. Never called after stop().
  void when_caught_up(std::function<void()> done);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace rillfs::stream
