// Runs small tasks after a delay, on one thread that sleeps as long as there is nothing to do.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "replication/base/clock.h"

namespace rillfs {

/// Threads: any. Tasks run on the one thread and must not block; they hand work on.
class DelayedTasks {
 public:
  DelayedTasks();
  ~DelayedTasks();
  void run_after(Duration delay, std::function<void()> task);
  /// Forgets what is waiting; when it returns no task runs any more.
  void stop();

 private:
  void work();

  std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  std::multimap<Monotonic, std::function<void()>> waiting_;
  bool stopping_ = false;

  std::thread thread_;
};

}  // namespace rillfs
