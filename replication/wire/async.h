// The few coroutine tools that the network code is written with.
//
// All coroutines run on the network executor, which is one thread: between two co_awaits nothing else touches
// what only that thread uses.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "replication/base/clock.h"
#include "replication/base/error.h"
#include "replication/base/mutex.h"

namespace rillfs::wire {

using Executor = boost::asio::any_io_executor;

template <class T>
using Task = boost::asio::awaitable<T>;

/// Something may have changed: waiters look again. Threads: network.
class Signal {
 public:
  explicit Signal(Executor network) : network_(std::move(network)) {}
  /// Wakes everyone who waits now.
  void notify();
  /// Until notify(), or spuriously.
  Task<void> wait();
  /// Until notify() or `timeout` from now.
  Task<void> wait_for(Duration timeout);

 private:
  Executor network_;
  std::vector<boost::asio::steady_timer*> waiters_;  // each in the frame of its coroutine
};

/// Counts running coroutines so that their owner can wait for their end. An exception that leaves one is
/// logged with its name.
class TaskGroup {
 public:
  explicit TaskGroup(Executor network) : network_(std::move(network)) {}
  /// Threads: any. `name` is for the log.
  void spawn(std::string name, Task<void> task);
  /// Blocks until none runs. Threads: any but network.
  void wait();

 private:
  void finished();

  Executor network_;
  Mutex mutex_;
  Condition idle_;
  std::size_t running_ RILL_GUARDED_BY(mutex_) = 0;
};

/// Runs `work`, which may block, on the worker pool, and resumes the coroutine on its own executor with what
/// it returned (default-constructible) or threw. `work` captures references and pointers only: g++ 12 copies
/// temporaries in a co_await expression bit by bit.
template <class Work>
Task<std::invoke_result_t<Work>> run_on(const Executor& workers, Work work) {
  using Value = std::invoke_result_t<Work>;
  static_assert(std::is_trivially_copyable_v<Work>);
  auto start = [](auto handler, Executor pool, Work job) {
    auto home = boost::asio::make_work_guard(handler);
    boost::asio::post(pool, [handler = std::move(handler), job = std::move(job), home]() mutable {
      std::exception_ptr failure;
      Value value{};
      try {
        value = job();
      } catch (...) {
        failure = std::current_exception();
      }
      auto executor = home.get_executor();
      boost::asio::dispatch(executor, [handler = std::move(handler), value = std::move(value), failure,
                                       home]() mutable { std::move(handler)(failure, std::move(value)); });
    });
  };
  co_return co_await boost::asio::async_initiate<const boost::asio::use_awaitable_t<>,
                                                 void(std::exception_ptr, Value)>(
      start, boost::asio::use_awaitable, workers, std::move(work));
}

}  // namespace rillfs::wire

/// RILL_TRY for coroutines.
#define RILL_CO_TRY(expr)                                       \
  do {                                                          \
    auto rill_result = expr;                                    \
    if (!rill_result) co_return std::move(rill_result).error(); \
  } while (0)
