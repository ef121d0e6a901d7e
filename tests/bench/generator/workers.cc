#include "tests/bench/generator/workers.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <limits>
#include <new>
#include <thread>
#include <vector>

#include "tests/bench/generator/database.h"
#include "tests/bench/generator/schedule.h"

namespace rillfs::bench {
namespace {

/// Shared by all processes, so that all workers begin at once.
struct Gate {
  std::atomic<unsigned> ready{0};
  std::atomic<std::int64_t> start_ns{0};
};

template <class T>
T* shared_array(std::size_t count) {
  void* memory =
      ::mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) give_up("no shared memory");
  T* first = static_cast<T*>(memory);
  for (std::size_t i = 0; i < count; ++i) new (first + i) T;
  return first;
}

void sleep_until(std::int64_t at_ns) {
  const timespec at{at_ns / 1'000'000'000, at_ns % 1'000'000'000};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR) {
  }
}

std::int64_t wait_for_start(Gate& gate) {
  ++gate.ready;
  std::int64_t start = 0;
  while ((start = gate.start_ns.load()) == 0) sleep_until(now_ns() + 1'000'000);
  sleep_until(start);
  return start;
}

std::int64_t to_ns(double seconds) { return static_cast<std::int64_t>(seconds * 1e9); }

/// How many of `options.transactions` are this worker's.
std::uint64_t share_of(const Options& options, unsigned worker) {
  if (options.transactions == 0) return std::numeric_limits<std::uint64_t>::max();
  const auto all = static_cast<std::uint64_t>(options.transactions);
  return all / options.workers() + (worker < all % options.workers() ? 1 : 0);
}

void work(const Options& options, std::int64_t rows, unsigned worker, Gate& gate, Results& results) {
  ::prctl(PR_SET_TIMERSLACK, 1);  // of this thread; 50 us would be measured
  Application application(options, rows, options.seed + worker);
  const std::int64_t start = wait_for_start(gate);
  const std::int64_t measured_from = start + to_ns(options.warm_up_s);
  const std::int64_t end = measured_from + to_ns(options.duration_s);
  Schedule schedule(start, options.rate, worker, options.workers());
  results.begin_ns = results.end_ns = measured_from;
  for (std::uint64_t left = share_of(options, worker); left > 0; --left) {
    const std::int64_t intended = schedule.next(now_ns());
    if (intended >= end) break;
    if (intended > now_ns()) sleep_until(intended);
    const std::int64_t begun = now_ns();
    if (begun >= end) {
      results.not_started = options.rate > 0 ? 1 + schedule.left_before(end) : 0;
      break;
    }
    const Kind kind = application.choose();
    const std::uint64_t repeated = application.perform(kind);
    const std::int64_t done = now_ns();
    if (intended < measured_from) continue;
    Measured& measured = results.kinds[static_cast<std::size_t>(kind)];
    measured.latency.record(done - intended);
    measured.service.record(done - begun);
    results.locked += repeated;
    results.end_ns = done;
  }
}

[[noreturn]] void process(const Options& options, std::int64_t rows, unsigned number, Gate& gate,
                          Results* results) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < options.threads; ++i) {
    const unsigned worker = number * options.threads + i;
    threads.emplace_back([&, worker] { work(options, rows, worker, gate, results[worker]); });
  }
  for (std::thread& thread : threads) thread.join();
  ::_exit(0);
}

}  // namespace

Results run_workers(const Options& options, std::int64_t rows) {
  Gate* gate = shared_array<Gate>(1);
  Results* results = shared_array<Results>(options.workers());
  for (unsigned i = 0; i < options.processes; ++i) {
    const pid_t pid = ::fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) process(options, rows, i, *gate, results);
  }
  int status = 0;
  while (gate->ready < options.workers()) {
    if (::waitpid(-1, &status, WNOHANG) > 0) give_up("a process failed");
    sleep_until(now_ns() + 1'000'000);
  }
  gate->start_ns = now_ns() + 5'000'000;
  for (unsigned i = 0; i < options.processes; ++i) {
    if (::wait(&status) < 0 || status != 0) give_up("a process failed");
  }
  Results all;
  for (unsigned i = 0; i < options.workers(); ++i) all.add(results[i]);
  return all;
}

}  // namespace rillfs::bench
