// Threads that run what is posted to them: an execution context of Asio, as boost::asio::thread_pool is.
//
// Why not that one: its idle threads wait on one condition variable, and glibc up to 2.40 (Debian 12
// has 2.36) can lose a signal when several threads do (glibc bug 25847): then tasks wait, or the thread that
// signals hangs. POSIX semaphores are not affected. For the same reason nothing else in RillFS lets several
// threads wait on one condition variable that is signalled often.
//
// Posting uses no descriptor: threads of any descriptor table may. (An io_context is woken by one: only
// threads of the table where it was made may post to it.)
#pragma once

#include <semaphore.h>

#include <boost/asio/execution.hpp>
#include <boost/asio/execution_context.hpp>
#include <cstddef>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "replication/base/mutex.h"

namespace rillfs {

/// Threads: post from any. Tasks run in the order in which they were posted, several at once; they must not
/// throw.
class WorkerPool : public boost::asio::execution_context {
 public:
  class executor_type;

  explicit WorkerPool(std::size_t threads);
  /// Joins; what could not run any more is destroyed.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  executor_type get_executor();
  /// Runs what has been posted, and what that posts, then ends the threads. Not from one of them.
  void join();

 private:
  /// A task that can be moved only.
  struct Task {
    virtual ~Task() = default;
    virtual void run() = 0;
  };
  void post(std::unique_ptr<Task> task);
  void work();
  /// Nothing runs and nothing waits: the threads end.
  void end_if_idle() RILL_REQUIRES(mutex_);

  sem_t ready_;  ///< one for each queued task, and one for each thread at the end
  Mutex mutex_;
  std::deque<std::unique_ptr<Task>> queue_ RILL_GUARDED_BY(mutex_);
  std::size_t running_ RILL_GUARDED_BY(mutex_) = 0;
  bool joining_ RILL_GUARDED_BY(mutex_) = false;
  bool ended_ RILL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;  ///< of the constructor and of join
};

/// What Asio asks of an executor. It never runs a function in the calling thread.
class WorkerPool::executor_type {
 public:
  explicit executor_type(WorkerPool& pool) : pool_(&pool) {}

  template <class Function>
  void execute(Function&& function) const {
    struct Holder final : Task {
      explicit Holder(Function&& held) : function(std::forward<Function>(held)) {}
      void run() override { std::move(function)(); }
      std::decay_t<Function> function;
    };
    pool_->post(std::make_unique<Holder>(std::forward<Function>(function)));
  }

  boost::asio::execution_context& query(boost::asio::execution::context_t) const noexcept { return *pool_; }
  static constexpr boost::asio::execution::blocking_t query(boost::asio::execution::blocking_t) noexcept {
    return boost::asio::execution::blocking.never;
  }
  executor_type require(boost::asio::execution::blocking_t::never_t) const { return *this; }
  friend bool operator==(const executor_type&, const executor_type&) noexcept = default;

 private:
  WorkerPool* pool_;
};

inline WorkerPool::executor_type WorkerPool::get_executor() { return executor_type(*this); }

}  // namespace rillfs
