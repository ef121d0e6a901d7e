// The threads that use the mount: a small pool in a descriptor table of its own.
//
// A thread that waits for an answer of its own mount must not hold /dev/fuse open: after a kill -9 it would
// wait for ever for an answer that nobody gives, and every application with it. One thread therefore takes a
// table of its own (unshare(CLONE_FILES)), closes everything in it but the standard streams, and starts the
// pool, whose threads inherit the table. Descriptors of the rest of the process mean nothing here, and the
// other way round.
#pragma once

#include <sys/types.h>

#include <boost/asio/strand.hpp>
#include <functional>
#include <memory>
#include <unordered_set>

#include "replication/base/mutex.h"
#include "replication/base/worker_pool.h"

namespace rillfs::apply {

/// Checkpoints have a thread of their own: what runs on the others may wait for one.
///
/// Threads: construct and stop from one thread; the executors from any.
class MountThreads {
 public:
  static constexpr int kTable = 1;
  using Strand = boost::asio::strand<WorkerPool::executor_type>;

  explicit MountThreads(int count);
  ~MountThreads();

  WorkerPool::executor_type executor() { return pool_->get_executor(); }
  WorkerPool::executor_type checkpoint_executor() { return checkpoints_->get_executor(); }
  Strand make_strand() { return boost::asio::make_strand(executor()); }
  /// Kernel thread ids: how the mount recognises their requests.
  const std::unordered_set<pid_t>& ids() const { return ids_; }
  /// Held by who looks at a name in the mount and then moves or removes it: another database's file may be
  /// moved out of the way meanwhile. No handler of requests takes it.
  Mutex& names() { return names_; }
  /// Runs what is queued, then ends the threads.
  void stop();

 private:
  /// Waits until each thread of `pool` has entered the table, and notes their ids.
  void enter_table(WorkerPool& pool, int count);

  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<WorkerPool> checkpoints_;
  std::unordered_set<pid_t> ids_;
  Mutex names_;
};

}  // namespace rillfs::apply
