// Locks are locks: what holds one keeps others out, and a condition gives it back while it waits. (That they
// are held where they have to be is what tests/threads.sh checks.)
#include "replication/base/mutex.h"

#include <gtest/gtest.h>

#include <thread>

namespace rillfs {
namespace {

struct Counter {
  Mutex mutex;
  Condition changed;
  int count RILL_GUARDED_BY(mutex) = 0;
};

TEST(LockTest, KeepsOthersOut) {
  constexpr int kRounds = 10000;
  Counter counter;
  auto add = [&] {
    for (int i = 0; i < kRounds; ++i) {
      Lock lock(counter.mutex);
      ++counter.count;
    }
  };
  std::thread other(add);
  add();
  other.join();
  Lock lock(counter.mutex);
  EXPECT_EQ(counter.count, 2 * kRounds);
}

TEST(LockTest, LetsOthersInBetweenUnlockAndLock) {
  Counter counter;
  Lock lock(counter.mutex);
  lock.unlock();
  std::thread([&] {
    Lock inner(counter.mutex);
    counter.count = 1;
  }).join();
  lock.lock();
  EXPECT_EQ(counter.count, 1);
}

TEST(ConditionTest, LetsOthersInWhileItWaitsAndHoldsTheMutexAfterwards) {
  Counter counter;
  Lock lock(counter.mutex);
  std::thread other([&] {
    Lock inner(counter.mutex);
    ++counter.count;
    counter.changed.notify_one();
    while (counter.count != 2) counter.changed.wait(counter.mutex);
  });
  while (counter.count != 1) counter.changed.wait(counter.mutex);
  ++counter.count;
  counter.changed.notify_one();
  lock.unlock();
  other.join();
}

TEST(ConditionTest, ReturnsWhenItsTimeHasCome) {
  Counter counter;
  Lock lock(counter.mutex);
  const Monotonic until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1);
  while (std::chrono::steady_clock::now() < until) counter.changed.wait_until(counter.mutex, until);
  EXPECT_EQ(counter.count, 0);
}

}  // namespace
}  // namespace rillfs
