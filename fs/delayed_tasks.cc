#include "fs/delayed_tasks.h"

#include "replication/base/signals.h"

namespace rillfs {

DelayedTasks::DelayedTasks() : thread_([this] { work(); }) {}

DelayedTasks::~DelayedTasks() { stop(); }

void DelayedTasks::run_after(Duration delay, std::function<void()> task) {
  Lock lock(mutex_);
  if (stopping_) return;
  waiting_.emplace(std::chrono::steady_clock::now() + delay, std::move(task));
  changed_.notify_one();
}

void DelayedTasks::work() {
  block_signals();
  Lock lock(mutex_);
  while (!stopping_) {
    if (waiting_.empty()) {
      changed_.wait(mutex_);
    } else if (auto next = waiting_.begin(); next->first > std::chrono::steady_clock::now()) {
      changed_.wait_until(mutex_, Monotonic(next->first));
    } else {
      auto task = std::move(next->second);
      waiting_.erase(next);
      lock.unlock();
      task();
      lock.lock();
    }
  }
}

void DelayedTasks::stop() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    waiting_.clear();
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace rillfs
