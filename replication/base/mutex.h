// Locks that clang checks while it compiles (-Wthread-safety; tests/threads.sh does).
//
//   Mutex mutex_;
//   int count_ RILL_GUARDED_BY(mutex_) = 0;         // used by who holds mutex_, and nobody else
//   void add_one() RILL_REQUIRES(mutex_);           // its caller holds mutex_
//   Mutex inner_ RILL_ACQUIRED_AFTER(mutex_);       // who wants both takes mutex_ first
//
// What the check does not follow: a function without RILL_REQUIRES holds nothing, and so does every lambda;
// constructors and destructors may touch everything; a reference to a guarded member may be kept and used
// later. For g++ all of this is std::mutex and nothing else.
#pragma once

#include <condition_variable>
#include <mutex>

#include "replication/base/clock.h"
#include "replication/base/waiting.h"

#if defined(__clang__)
#define RILL_THREAD_SAFETY(attribute) __attribute__((attribute))
#else
#define RILL_THREAD_SAFETY(attribute)
#endif

/// Of a member: it is read and written under this lock.
#define RILL_GUARDED_BY(mutex) RILL_THREAD_SAFETY(guarded_by(mutex))
/// Of a lock: taken while that one is held, or alone.
#define RILL_ACQUIRED_AFTER(mutex) RILL_THREAD_SAFETY(acquired_after(mutex))
/// Of a function: its caller holds the lock, before and after.
#define RILL_REQUIRES(...) RILL_THREAD_SAFETY(requires_capability(__VA_ARGS__))
/// Of a function: its caller does not hold the lock.
#define RILL_EXCLUDES(...) RILL_THREAD_SAFETY(locks_excluded(__VA_ARGS__))
/// Of a function: not looked into. Whoever writes this says why.
#define RILL_NO_THREAD_SAFETY_ANALYSIS RILL_THREAD_SAFETY(no_thread_safety_analysis)
/// Of a function: it takes the lock, or gives it back. Without an argument: its object is the lock.
#define RILL_ACQUIRE(...) RILL_THREAD_SAFETY(acquire_capability(__VA_ARGS__))
#define RILL_RELEASE(...) RILL_THREAD_SAFETY(release_capability(__VA_ARGS__))

namespace rillfs {

class RILL_THREAD_SAFETY(capability("mutex")) Mutex {
 public:
  /// Waits if it has to, and says so before (waiting.h).
  void lock() RILL_ACQUIRE() {
    if (mutex_.try_lock()) return;
    about_to_wait();
    mutex_.lock();
  }
  void unlock() RILL_RELEASE() { mutex_.unlock(); }

 private:
  friend class Lock;
  friend class Condition;
  std::mutex mutex_;
};

/// Holds a mutex while it lives, but for the time between unlock() and lock().
class RILL_THREAD_SAFETY(scoped_lockable) Lock {
 public:
  explicit Lock(Mutex& mutex) RILL_ACQUIRE(mutex) : lock_(mutex.mutex_, std::try_to_lock) { wait(); }
  ~Lock() RILL_RELEASE() {}
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  void unlock() RILL_RELEASE() { lock_.unlock(); }
  void lock() RILL_ACQUIRE() {
    (void)lock_.try_lock();
    wait();
  }

 private:
  void wait() {
    if (lock_.owns_lock()) return;
    about_to_wait();
    lock_.lock();
  }

  std::unique_lock<std::mutex> lock_;
};

/// std::condition_variable for a Mutex. It takes no predicate, which would be a lambda: wait in a loop.
class Condition {
 public:
  void notify_one() { changed_.notify_one(); }
  void notify_all() { changed_.notify_all(); }
  /// Gives the mutex back while it waits. May return for nothing.
  void wait(Mutex& mutex) RILL_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();
  }
  void wait_until(Mutex& mutex, Monotonic time) RILL_REQUIRES(mutex) {
    std::unique_lock lock(mutex.mutex_, std::adopt_lock);
    changed_.wait_until(lock, time);
    lock.release();
  }

 private:
  std::condition_variable changed_;
};

}  // namespace rillfs
