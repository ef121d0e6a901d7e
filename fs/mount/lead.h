// Which of the request workers listens to the device: one at a time (leader and followers).
//
// The leader receives a request. What takes microseconds it answers itself and listens again: no other thread
// is woken. Before anything longer it gives the lead to a follower, the one that has been idle for the
// shortest time (its caches are warm); but not for a sync while one thread alone sends requests, which waits
// for it: waking a follower, and having it poll in vain, costs a commit more than it is good for. Whatever
// else may keep it (a page that is not in memory, a lock, a disk that is slow to take a write), it loses the
// lead after a millisecond or two: a watch sees to that, so that no request ever waits for the answer to
// another one for longer.
//
// Why not all of them in read(2): the kernel wakes the one that has waited longest, with the coldest caches;
// and a worker that polls the device (session.h) would be of no use beside others that wait, since the kernel
// goes on waking them for what it has taken.
#pragma once

#include <semaphore.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "replication/base/mutex.h"
#include "replication/base/waiting.h"

namespace rillfs::mount {

/// A POSIX semaphore (why: worker_pool.h).
class Semaphore {
 public:
  Semaphore() { ::sem_init(&semaphore_, 0, 0); }
  ~Semaphore() { ::sem_destroy(&semaphore_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  void post() { ::sem_post(&semaphore_); }
  void wait();
  /// False: not within that time.
  bool wait_for(std::chrono::milliseconds time);

 private:
  sem_t semaphore_;
};

/// Threads: any; who may call what is said below.
class Lead final : public BeforeWaiting {
 public:
  /// At first nobody has the lead.
  Lead();
  /// After end(), when no thread uses it any more.
  ~Lead();
  Lead(const Lead&) = delete;
  Lead& operator=(const Lead&) = delete;

  /// Waits until the calling thread has the lead. False: everything has ended.
  bool take();
  /// The leader: it has no use for it now.
  void give();
  /// The leader has received a request of this thread.
  void note_requester(std::uint32_t thread);
  /// The leader begins to answer a request by itself.
  void begin_answer();
  /// That thread, when it has done so. False: another one has the lead meanwhile.
  bool end_answer();
  /// Any thread; if it is a leader that answers, the lead goes to another one.
  void about_to_wait() override;
  /// The same, unless one thread alone has sent requests lately.
  void about_to_sync() override;
  /// Nobody gets the lead any more; all that wait for it return.
  void end();
  /// How often the lead was taken from a leader that was too slow.
  std::uint64_t taken_away() const { return taken_away_.load(std::memory_order_relaxed); }
  /// The watch uses no CPU until the next request.
  bool watch_sleeps() const { return watch_sleeps_; }

 private:
  bool take_from(std::uint64_t request);
  void watch();

  Mutex mutex_;
  std::vector<Semaphore*> waiting_ RILL_GUARDED_BY(mutex_);  ///< the last one is next
  bool free_ RILL_GUARDED_BY(mutex_) = true;
  bool ended_ RILL_GUARDED_BY(mutex_) = false;

  std::atomic<std::uint32_t> requester_{0};  ///< of the last request; written by the leader
  std::atomic<std::uint64_t> in_a_row_{0};   ///< requests of that thread before it; written by the leader
  std::atomic<std::uint64_t> requests_{0};   ///< begun so far; written by the leader
  std::atomic<std::uint64_t> answering_{0};  ///< the one that the leader answers; 0: none
  std::atomic<std::uint64_t> taken_away_{0};
  std::atomic<bool> watch_sleeps_{false};
  std::atomic<bool> watch_ends_{false};
  Semaphore watch_wakes_;
  std::thread watch_;
};

}  // namespace rillfs::mount
