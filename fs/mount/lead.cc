#include "fs/mount/lead.h"

#include <time.h>

#include <cerrno>

#include "replication/base/signals.h"

namespace rillfs::mount {
namespace {

constexpr std::chrono::milliseconds kTick{1};
/// Without a request for so many ticks the watch sleeps until there is one.
constexpr int kQuietTicks = 50;
/// After so many requests of one thread in a row nobody else is expected to send one.
constexpr std::uint64_t kAlone = 200;

/// The request that this thread answers, or has answered last, as the leader.
thread_local std::uint64_t answered_here = 0;

}  // namespace

void Semaphore::wait() {
  while (::sem_wait(&semaphore_) < 0 && errno == EINTR) {
  }
}

bool Semaphore::wait_for(std::chrono::milliseconds time) {
  timespec until{};
  ::clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += std::chrono::nanoseconds(time).count();
  until.tv_sec += until.tv_nsec / 1'000'000'000;
  until.tv_nsec %= 1'000'000'000;
  int failed = 0;
  do {
    failed = ::sem_clockwait(&semaphore_, CLOCK_MONOTONIC, &until);
  } while (failed < 0 && errno == EINTR);
  return failed == 0;
}

Lead::Lead() : watch_([this] { watch(); }) {}

Lead::~Lead() {
  watch_ends_ = true;
  watch_wakes_.post();
  watch_.join();
}

bool Lead::take() {
  Semaphore mine;
  {
    Lock lock(mutex_);
    if (ended_) return false;
    if (free_) {
      free_ = false;
      return true;
    }
    waiting_.push_back(&mine);
  }
  mine.wait();
  Lock lock(mutex_);
  return !ended_;
}

void Lead::give() {
  Lock lock(mutex_);
  if (waiting_.empty()) {
    free_ = true;  // whoever comes back first has it
    return;
  }
  Semaphore* next = waiting_.back();
  waiting_.pop_back();
  next->post();
}

void Lead::note_requester(std::uint32_t thread) {
  const bool same = thread == requester_.exchange(thread, std::memory_order_relaxed);
  in_a_row_.store(same ? in_a_row_.load(std::memory_order_relaxed) + 1 : 0, std::memory_order_relaxed);
}

void Lead::begin_answer() {
  const std::uint64_t request = requests_.load(std::memory_order_relaxed) + 1;
  requests_.store(request, std::memory_order_relaxed);
  answered_here = request;
  answering_ = request;
  // Either we see that the watch sleeps, or it sees the request before it does.
  if (watch_sleeps_ && watch_sleeps_.exchange(false)) watch_wakes_.post();
}

bool Lead::end_answer() {
  std::uint64_t request = answered_here;
  return answering_.compare_exchange_strong(request, 0);
}

bool Lead::take_from(std::uint64_t request) {
  if (request == 0 || !answering_.compare_exchange_strong(request, 0)) return false;
  give();
  return true;
}

void Lead::about_to_wait() { take_from(answered_here); }

void Lead::about_to_sync() {
  if (in_a_row_.load(std::memory_order_relaxed) < kAlone) take_from(answered_here);
}

void Lead::end() {
  Lock lock(mutex_);
  ended_ = true;
  for (Semaphore* waiting : waiting_) waiting->post();
  waiting_.clear();
}

void Lead::watch() {
  block_signals();
  std::uint64_t answering = 0;
  std::uint64_t requests = 0;
  for (int quiet = 0; !watch_ends_;) {
    if (quiet >= kQuietTicks) {
      watch_sleeps_ = true;
      if (answering_ == 0) watch_wakes_.wait();
      watch_sleeps_ = false;
      quiet = 0;
    } else {
      watch_wakes_.wait_for(kTick);
    }
    const std::uint64_t now = answering_;
    if (now != 0 && now == answering && take_from(now)) taken_away_.fetch_add(1, std::memory_order_relaxed);
    answering = now;
    quiet = requests_ == requests ? quiet + 1 : 0;
    requests = requests_;
  }
}

}  // namespace rillfs::mount
