// Reads the whole content of every database again and again, slowly, so that damage of the disk is found
// while there is still a copy.
//
// A round begins an interval after the last one began. It reads at `rate`, or faster where that is needed to
// be done before the next. In between the thread sleeps.
#pragma once

#include <thread>

#include "fs/databases.h"
#include "fs/integrity_check.h"
#include "replication/base/mutex.h"

namespace rillfs {

struct ScrubOptions {
  Duration interval = std::chrono::hours(24);   ///< 0: never
  std::uint64_t rate = std::uint64_t{4} << 20;  ///< bytes a second, at least
};

/// Sleeps so that bytes go by at a rate. Threads: one.
class Throttle {
 public:
  Throttle(const Clock& clock, std::uint64_t bytes_per_second)
      : clock_(clock), rate_(bytes_per_second), began_(clock.monotonic()) {}
  /// How long to wait now that `bytes` more have gone by. A time of idleness is not caught up.
  Duration after(std::uint64_t bytes);

 private:
  const Clock& clock_;
  const std::uint64_t rate_;
  Monotonic began_;
  std::uint64_t done_ = 0;
};

/// Threads: start and stop from the owner's.
class Scrubber {
 public:
  Scrubber(Databases& databases, Clock& clock, ScrubOptions options);
  ~Scrubber();
  void start();
  /// When it returns nothing of it runs.
  void stop();

 private:
  void work();
  void scrub_all();
  /// False: it is to stop.
  bool sleep(Duration duration);

  Databases& databases_;
  Clock& clock_;
  const ScrubOptions options_;

  Mutex mutex_;
  Condition changed_;
  bool stopping_ RILL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace rillfs
