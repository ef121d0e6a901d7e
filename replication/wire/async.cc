#include "replication/wire/async.h"

#include <spdlog/spdlog.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <optional>

#include "replication/wire/simulated_time.h"

namespace rillfs::wire {

namespace asio = boost::asio;

void Signal::notify() {
  for (asio::steady_timer* waiter : waiters_) waiter->cancel();
}

Task<void> Signal::wait() { return wait_for(std::chrono::hours(24)); }

Task<void> Signal::wait_for(Duration timeout) {
  asio::steady_timer timer(network_, std::chrono::duration_cast<asio::steady_timer::duration>(timeout));
  std::optional<SimulatedTime::Alarm> alarm;
  auto& context = asio::query(network_, asio::execution::context);
  if (asio::has_service<SimulatedTime>(context)) {
    timer.expires_at(asio::steady_timer::time_point::max());
    alarm.emplace(asio::use_service<SimulatedTime>(context), timeout, timer);
  }
  waiters_.push_back(&timer);
  struct Leave {
    std::vector<asio::steady_timer*>& waiters;
    asio::steady_timer* self;
    ~Leave() { std::erase(waiters, self); }
  } leave{waiters_, &timer};
  co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
}

void TaskGroup::spawn(std::string name, Task<void> task) {
  {
    Lock lock(mutex_);
    ++running_;
  }
  asio::co_spawn(network_, std::move(task), [this, name = std::move(name)](std::exception_ptr failure) {
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const std::exception& error) {
      spdlog::error("{}: ended by an unexpected failure: {}", name, error.what());
    }
    finished();
  });
}

void TaskGroup::finished() {
  Lock lock(mutex_);
  if (--running_ == 0) idle_.notify_all();
}

void TaskGroup::wait() {
  Lock lock(mutex_);
  while (running_ != 0) idle_.wait(mutex_);
}

}  // namespace rillfs::wire
