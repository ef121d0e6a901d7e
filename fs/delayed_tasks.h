// Runs small tasks after a delay, on one thread that sleeps as long as there is nothing to do.
#pragma once

#include <functional>
#include <map>
#include <thread>

#include "replication/base/clock.h"
#include "replication/base/mutex.h"

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

  Mutex mutex_;
  Condition changed_;
  std::multimap<Monotonic, std::function<void()>> waiting_ RILL_GUARDED_BY(mutex_);
  bool stopping_ RILL_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace rillfs
