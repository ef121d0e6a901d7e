// Time that does not pass by itself, for a simulator: `Signal` waits by it where one of these is in the
// network's execution context.
//
// Threads: network.
#pragma once

#include <boost/asio/execution_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <optional>

#include "replication/base/clock.h"

namespace rillfs::wire {

class SimulatedTime final : public boost::asio::execution_context::service {
 public:
  static inline boost::asio::execution_context::id id;

  explicit SimulatedTime(boost::asio::execution_context& context) : service(context) {}

  /// When the first of those who wait has waited long enough; nothing if nobody waits.
  std::optional<Monotonic> next() const {
    return alarms_.empty() ? std::nullopt : std::optional(alarms_.begin()->first);
  }
  /// It is `now`: whoever waits until then or before goes on.
  void advance(Monotonic now) {
    now_ = now;
    for (const auto& [due, timer] : alarms_) {
      if (due > now) break;
      timer->cancel();
    }
  }

  /// Cancels a timer after `timeout`, as long as this lives.
  class Alarm {
   public:
    Alarm(SimulatedTime& time, Duration timeout, boost::asio::steady_timer& timer)
        : time_(time), at_(time.alarms_.emplace(time.now_ + timeout, &timer)) {}
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;
    ~Alarm() { time_.alarms_.erase(at_); }

   private:
    SimulatedTime& time_;
    std::multimap<Monotonic, boost::asio::steady_timer*>::iterator at_;
  };

 private:
  void shutdown() override {}

  Monotonic now_;
  std::multimap<Monotonic, boost::asio::steady_timer*> alarms_;
};

}  // namespace rillfs::wire
