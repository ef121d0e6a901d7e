#include "fs/scrubber.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "replication/base/signals.h"

namespace rillfs {
namespace {
/// The first round begins after this part of an interval: a node that is restarted every day is looked at,
/// too.
constexpr int kFirstPart = 24;
constexpr Duration kSecond = std::chrono::seconds(1);
}  // namespace

Duration Throttle::after(std::uint64_t bytes) {
  done_ += bytes;
  const double seconds = static_cast<double>(done_) / static_cast<double>(std::max<std::uint64_t>(1, rate_));
  const auto due = began_ + Duration(static_cast<std::int64_t>(seconds * 1e9));
  const Monotonic now = clock_.monotonic();
  if (now - due > kSecond) {
    began_ = now;
    done_ = 0;
  }
  return std::max(Duration::zero(), due - now);
}

Scrubber::Scrubber(Databases& databases, Clock& clock, ScrubOptions options)
    : databases_(databases), clock_(clock), options_(options) {}

Scrubber::~Scrubber() { stop(); }

void Scrubber::start() {
  if (options_.interval <= Duration::zero()) return;
  thread_ = std::thread([this] {
    block_signals();
    work();
  });
}

void Scrubber::stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool Scrubber::sleep(Duration duration) {
  const Monotonic until = std::chrono::steady_clock::now() + duration;
  Lock lock(mutex_);
  while (!stopping_ && std::chrono::steady_clock::now() < until) changed_.wait_until(mutex_, until);
  return !stopping_;
}

void Scrubber::work() {
  bool go_on = sleep(options_.interval / kFirstPart);
  while (go_on) {
    const Monotonic began = clock_.monotonic();
    scrub_all();
    go_on = sleep(options_.interval - (clock_.monotonic() - began));
  }
}

void Scrubber::scrub_all() {
  const auto databases = databases_.all();
  std::uint64_t bytes = 0;
  for (const auto& database : databases) bytes += database->details().size;
  const double seconds = std::chrono::duration<double>(options_.interval).count();
  const auto needed = static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds);
  Throttle throttle(clock_, std::max(options_.rate, needed));
  for (const auto& database : databases) {
    if (database->is_dropped()) continue;
    const CheckReport report = check_database(
        *database, clock_,
        [&](std::uint64_t more, std::uint64_t, std::uint64_t) { return sleep(throttle.after(more)); });
    if (!sleep(Duration::zero())) return;
    // Damaged pages are in the log already.
    if (!report.complete) {
      spdlog::info("{}: not looked at to the end, the next round does: {}", report.name, report.problem);
    } else if (report.damaged == 0 && !report.problem.empty()) {
      spdlog::error("{}: {}", report.name, report.problem);
    }
  }
}

}  // namespace rillfs
