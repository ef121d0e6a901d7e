// A running node: its databases, its mount, its side of the streaming, its control socket.
//
// Assembled here and nowhere else, in the order in which one part needs another; taken apart in the other
// direction.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <thread>

#include "cmd/config.h"
#include "cmd/control_server.h"
#include "cmd/data_lock.h"
#include "cmd/status.h"
#include "cmd/verify_jobs.h"
#include "fs/apply/mount_threads.h"
#include "fs/databases.h"
#include "fs/mount/memory_keeper.h"
#include "fs/mount/session.h"
#include "fs/mount_work.h"
#include "fs/scrubber.h"
#include "replication/base/worker_pool.h"
#include "replication/lease/lease.h"
#include "replication/node.h"
#include "replication/stream/publisher.h"
#include "replication/stream/subscriber.h"

namespace rillfs::cmd {

/// Threads: start and stop from the main thread.
class Daemon {
 public:
  /// When it returns the mount answers and recovery is done.
  static Result<std::unique_ptr<Daemon>> start(const Config& config);
  ~Daemon();

  /// `ready` is called once, on some thread, when the databases are: at once on a primary; on a replica when
  /// all that the primary had at the first connection is applied.
  void when_ready(std::function<void()> ready);
  /// Somebody has unmounted it.
  bool unmounted() const { return session_ && session_->ended(); }
  /// Ends everything in order. Waits a while for applications to close their files, then goes on without.
  void stop();

 private:
  explicit Daemon(const Config& config, DataLock lock);
  Result<void> load();
  Result<void> mount();
  /// `capture: auto` is hold where what is passed through could not be stopped after a crash.
  void refuse_tail_without_fence();
  Result<void> require_capture() const;
  Result<void> connect();
  void look_after_content();
  Result<void> serve_control();
  NodeStatus status() const;
  void add_databases(NodeStatus& status) const;
  void add_replicas(NodeStatus& status) const;
  std::int64_t lag_ms() const;
  void unmount();

  const Config config_;
  const DataLock lock_;
  PosixFileSystem files_;
  SystemClock clock_;
  const std::int64_t started_ms_;
  SystemRandom random_;
  ::rillfs::Environment environment_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<Databases> databases_;
  std::unique_ptr<mount::MemoryKeeper> keeper_;
  std::unique_ptr<apply::MountThreads> mount_threads_;
  std::unique_ptr<mount::Passthrough> passthrough_;
  std::unique_ptr<mount::Tree> tree_;
  std::unique_ptr<mount::RequestContext> requests_;
  std::unique_ptr<mount::Session> session_;
  std::unique_ptr<MountWork> work_;

  boost::asio::io_context network_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_network_;
  std::thread network_thread_;
  WorkerPool workers_;
  WorkerPool control_workers_{1};  ///< so that status answers while all stream workers wait for something
  wire::TcpTransport transport_;
  std::unique_ptr<lease::Lease> lease_;
  std::unique_ptr<stream::Publisher> publisher_;
  std::unique_ptr<stream::Subscriber> subscriber_;
  std::unique_ptr<Scrubber> scrubber_;
  std::unique_ptr<VerifyJobs> verify_;
  std::unique_ptr<ControlServer> control_;
  bool stopped_ = false;
};

}  // namespace rillfs::cmd
