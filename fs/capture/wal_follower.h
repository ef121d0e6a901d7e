// Reads along behind WALs that the kernel passes through (source "tail"), so that commits reach the log soon
// after they were made, without a request.
//
// One thread for all databases. A WAL that nobody writes costs nothing: inotify wakes the thread, which then
// looks every 200 us until the writer has been quiet for some milliseconds. While it looks the kernel reports
// no events (the watch is gone with the first one), so that a busy writer does not pay for them. Where the
// gates find the commits (synchronous=FULL) it looks less often, down to every 2 ms: each look takes a core
// from the writer or from the worker that it waits for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>

#include "fs/database.h"
#include "replication/base/mutex.h"

namespace rillfs {

/// Threads: any of descriptor table 0.
class WalFollower {
 public:
  /// What the follower cannot do itself; called on its thread, must not block for long.
  struct Help {
    /// The wal-index has to be read, and handed to Database::drain_published.
    std::function<void(const std::shared_ptr<Database>&)> read_index;
    /// The WAL grows beside content that reconcile has to take over.
    std::function<void(const std::shared_ptr<Database>&)> reconcile;
  };
  explicit WalFollower(Help help) : help_(std::move(help)) {}
  ~WalFollower() { stop(); }
  WalFollower(const WalFollower&) = delete;
  WalFollower& operator=(const WalFollower&) = delete;

  /// `wal`: any number that tells WALs apart; `path` leads to the file now. Once more for the same one does
  /// nothing. kIo where the kernel has no watches left: then only the gates find commits.
  Result<void> follow(std::uint64_t wal, const std::shared_ptr<Database>& database, const std::string& path);
  void leave(std::uint64_t wal);
  /// Returns when the thread has ended.
  void stop();

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr Clock::duration kPauseMin = std::chrono::microseconds(200);
  static constexpr Clock::duration kPauseMax = std::chrono::milliseconds(2);
  static constexpr Clock::duration kAskAgainMin = std::chrono::milliseconds(5);
  static constexpr Clock::duration kAskAgainMax = std::chrono::seconds(1);
  struct Followed {
    std::weak_ptr<Database> database;
    std::string path;
    int watch = -1;  ///< -1 while it is being looked at
    Clock::time_point moved{};
    Clock::duration pause = kPauseMin;  ///< between two looks
    Clock::time_point due{};            ///< the next look
    /// Asleep, but what stands there may be a commit that the wal-index does not say yet: its writer
    /// publishes it after the sync that it waits for. Looked at then.
    std::optional<Clock::time_point> ask_again;
    Clock::duration ask_pause = kAskAgainMin;
    Txid known;            ///< the database's, after the last look
    bool failing = false;  ///< its last error has been reported
  };
  Result<void> start() RILL_REQUIRES(mutex_);
  bool watch(std::uint64_t wal, Followed& entry) RILL_REQUIRES(mutex_);
  void unwatch(Followed& entry) RILL_REQUIRES(mutex_);
  void run();
  /// At those that are due. When the next one is; nothing: only after an event.
  std::optional<Clock::time_point> look_at_due();
  std::optional<Clock::time_point> next_look(std::uint64_t wal);
  /// Nothing: asleep, until an event.
  static std::optional<Clock::time_point> next_look_at(const Followed& entry) {
    return entry.watch >= 0 ? entry.ask_again : std::optional(entry.due);
  }
  /// Waits for events, at most until then, and wakes what they are about.
  void wait(std::optional<Clock::time_point> until);
  void look_at(std::uint64_t wal, const std::shared_ptr<Database>& database);
  void put_to_sleep(std::uint64_t wal, const std::shared_ptr<Database>& database, bool asks_again);
  Database::Drained drain(std::uint64_t wal, Database& database, Database::Look look);
  /// `before`, `after`: where the database was and is, around a look.
  static void choose_pause(Followed& entry, Txid before, Txid after);

  const Help help_;
  Mutex mutex_;  ///< never held while a database's is taken
  std::unordered_map<std::uint64_t, Followed> followed_ RILL_GUARDED_BY(mutex_);
  std::unordered_map<int, std::uint64_t> by_watch_ RILL_GUARDED_BY(mutex_);
  int events_ = -1;  ///< inotify; constant once the thread runs
  int wake_ = -1;    ///< eventfd; likewise
  std::atomic<bool> stopping_{false};
  std::thread thread_ RILL_GUARDED_BY(mutex_);
};

}  // namespace rillfs
