#include "fs/capture/wal_follower.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "replication/base/signals.h"

namespace rillfs {
namespace {

using namespace std::chrono_literals;
/// How long a writer has to be quiet, and how much longer for each frame of its open transaction: looking at
/// all of them costs time.
constexpr auto kQuiet = 5ms;
constexpr auto kQuietPerFrame = 20us;

}  // namespace

Result<void> WalFollower::start() {
  if (thread_.joinable()) return {};
  if (stopping_) return make_error(ErrorCode::kClosed, "follow a WAL: the node is stopping");
  events_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (events_ < 0 || wake_ < 0) return errno_error(errno, "follow a WAL: inotify");
  thread_ = std::thread([this] { run(); });
  return {};
}

Result<void> WalFollower::follow(std::uint64_t wal, const std::shared_ptr<Database>& database,
                                 const std::string& path) {
  const Txid known = database->published().txid;
  Lock lock(mutex_);
  RILL_TRY(start());
  auto [it, inserted] = followed_.try_emplace(wal);
  Followed& entry = it->second;
  if (!inserted && entry.database.lock() == database) return {};
  entry.database = database;
  entry.path = path;
  entry.known = known;
  if (entry.watch >= 0) return {};
  if (watch(wal, entry)) return {};
  const int error = errno;
  followed_.erase(it);
  return errno_error(error, "follow a WAL: no watch for " + path + " (fs.inotify.max_user_watches)");
}

/// False, and errno says why, if it cannot be watched.
bool WalFollower::watch(std::uint64_t wal, Followed& entry) {
  entry.watch = ::inotify_add_watch(events_, entry.path.c_str(), IN_MODIFY | IN_ONESHOT);
  if (entry.watch < 0) return false;
  by_watch_[entry.watch] = wal;
  return true;
}

void WalFollower::unwatch(Followed& entry) {
  if (entry.watch < 0) return;
  by_watch_.erase(entry.watch);
  ::inotify_rm_watch(events_, std::exchange(entry.watch, -1));
}

void WalFollower::leave(std::uint64_t wal) {
  Lock lock(mutex_);
  auto it = followed_.find(wal);
  if (it == followed_.end()) return;
  unwatch(it->second);
  followed_.erase(it);
}

void WalFollower::stop() {
  std::thread thread;
  {
    Lock lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  if (!thread.joinable()) return;
  const std::uint64_t one = 1;
  (void)!::write(wake_, &one, sizeof one);
  thread.join();
  ::close(events_);
  ::close(wake_);
}

void WalFollower::run() {
  block_signals();
  std::optional<Clock::time_point> next;
  while (!stopping_) {
    wait(next);
    next = look_at_due();
  }
}

std::optional<WalFollower::Clock::time_point> WalFollower::look_at_due() {
  std::optional<Clock::time_point> next;
  auto or_then = [&next](std::optional<Clock::time_point> then) {
    if (then) next = next ? std::min(*next, *then) : *then;
  };
  std::vector<std::pair<std::uint64_t, std::shared_ptr<Database>>> due;
  const auto now = Clock::now();
  {
    Lock lock(mutex_);
    for (auto& [wal, entry] : followed_) {
      const auto at = next_look_at(entry);
      if (!at || *at > now) {
        or_then(at);
      } else if (auto database = entry.database.lock()) {
        unwatch(entry);
        due.emplace_back(wal, std::move(database));
      }
    }
  }
  for (const auto& [wal, database] : due) {
    look_at(wal, database);
    or_then(next_look(wal));
  }
  return next;
}

std::optional<WalFollower::Clock::time_point> WalFollower::next_look(std::uint64_t wal) {
  Lock lock(mutex_);
  auto it = followed_.find(wal);
  return it == followed_.end() ? std::nullopt : next_look_at(it->second);
}

void WalFollower::wait(std::optional<Clock::time_point> until) {
  pollfd descriptors[] = {{events_, POLLIN, 0}, {wake_, POLLIN, 0}};
  const auto left = until ? std::max<std::chrono::nanoseconds>(*until - Clock::now(), 0ns) : 0ns;
  const timespec timeout{left / 1s, (left % 1s).count()};
  if (::ppoll(descriptors, 2, until ? &timeout : nullptr, nullptr) <= 0) return;
  alignas(inotify_event) char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(events_, buffer, sizeof buffer);
    if (got <= 0) return;
    Lock lock(mutex_);
    for (const char* at = buffer; at < buffer + got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(at);
      at += sizeof(inotify_event) + event->len;
      // One event takes the watch away; what follows it says so (IN_IGNORED) and finds nothing.
      auto known = by_watch_.find(event->wd);
      if (known == by_watch_.end()) continue;
      if (auto it = followed_.find(known->second); it != followed_.end()) {
        it->second.watch = -1;
        it->second.moved = Clock::now();
        it->second.ask_pause = kAskAgainMin;
        // Where the gates find what is committed, give them time to.
        it->second.due = it->second.moved + (it->second.pause > kPauseMin ? it->second.pause : 0ns);
      }
      by_watch_.erase(known);
    }
  }
}

Database::Drained WalFollower::drain(std::uint64_t wal, Database& database, Database::Look look) {
  const Txid before = database.published().txid;
  auto drained = database.drain(look);
  const Txid after = database.published().txid;
  std::string report;
  {
    Lock lock(mutex_);
    auto it = followed_.find(wal);
    if (it != followed_.end()) {
      if (!drained && !it->second.failing) report = drained.error().message;
      it->second.failing = !drained;
      if (drained && drained->moved) it->second.moved = Clock::now();
      choose_pause(it->second, before, after);
    }
  }
  if (!report.empty())
    spdlog::error(
        "{}: commits in its WAL are not in the log, and do not reach replicas: {}. It is tried again "
        "with each further commit",
        database.path(), report);
  return drained ? *drained : Database::Drained{};
}

void WalFollower::choose_pause(Followed& entry, Txid before, Txid after) {
  const auto now = Clock::now();
  if (before != after) {
    entry.pause = std::max(entry.pause / 2, kPauseMin);  // it would have waited for us
  } else if (before != entry.known) {
    entry.pause = std::min(entry.pause * 2, kPauseMax);
    entry.moved = now;
  }
  entry.known = after;
  entry.due = now + entry.pause;
}

void WalFollower::look_at(std::uint64_t wal, const std::shared_ptr<Database>& database) {
  const Database::Drained drained = drain(wal, *database, Database::Look::kQuick);
  Clock::time_point moved;
  {
    Lock lock(mutex_);
    auto it = followed_.find(wal);
    if (it == followed_.end()) return;
    moved = it->second.moved;
  }
  if (Clock::now() - moved < kQuiet + drained.open * kQuietPerFrame) return;
  const Database::Drained thorough = drain(wal, *database, Database::Look::kThorough);
  if (thorough.moved) return;
  if (thorough.needs_index) help_.read_index(database);
  if (thorough.reconciles) help_.reconcile(database);
  put_to_sleep(wal, database, thorough.needs_index);
}

void WalFollower::put_to_sleep(std::uint64_t wal, const std::shared_ptr<Database>& database,
                               bool asks_again) {
  {
    Lock lock(mutex_);
    auto it = followed_.find(wal);
    if (it == followed_.end()) return;
    Followed& entry = it->second;
    if (!watch(wal, entry)) return;  // there are no watches left: it is looked at again and again
    entry.ask_again.reset();
    if (asks_again) entry.ask_again = Clock::now() + entry.ask_pause;
    entry.ask_pause = asks_again ? std::min(2 * entry.ask_pause, kAskAgainMax) : kAskAgainMin;
  }
  // What was written before the watch was there.
  if (!drain(wal, *database, Database::Look::kThorough).moved) return;
  Lock lock(mutex_);
  auto it = followed_.find(wal);
  if (it != followed_.end()) unwatch(it->second);
}

}  // namespace rillfs
