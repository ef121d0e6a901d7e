// From COMMIT on the primary to visible on a replica: one thread commits at a steady rate, another asks the
// replica for its newest row every 50 us. Both clocks are the same one, so the two nodes run on one machine.
// The time counts from before the INSERT (autocommit) that commits, so it holds the commit itself too.
#include <sys/prctl.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/bench/connection.h"
#include "tests/bench/measurements.h"

namespace rillfs::bench {
namespace {

constexpr std::int64_t kPollNs = 50'000;
constexpr std::int64_t kGiveUpNs = 20'000'000'000;

void sleep_until(std::int64_t at_ns) {
  const timespec at{at_ns / 1'000'000'000, at_ns % 1'000'000'000};
  ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

double percentile_ms(const std::vector<std::int64_t>& sorted_ns, double share) {
  const auto last = static_cast<double>(sorted_ns.size() - 1);
  return static_cast<double>(sorted_ns[static_cast<std::size_t>(last * share)]) / 1e6;
}

/// [share, ms]: dense where few are left, for a plot of the distribution.
nlohmann::json distribution(const std::vector<std::int64_t>& sorted_ns) {
  nlohmann::json points = nlohmann::json::array();
  double left = 1;
  for (; left * static_cast<double>(sorted_ns.size()) >= 1; left *= 0.85)
    points.push_back({1 - left, percentile_ms(sorted_ns, 1 - left)});
  points.push_back({1 - left, percentile_ms(sorted_ns, 1)});
  return points;
}

/// Commits `begun.size()` rows with ids first..., and notes when each commit began and returned.
void commit_steadily(Connection& primary, std::int64_t first, std::int64_t interval_ns,
                     std::vector<std::int64_t>& begun, std::vector<std::int64_t>& returned) {
  Statement insert(primary, "INSERT INTO beat(id, value) VALUES(?, ?)");
  const std::string row(100, 'r');
  std::int64_t due = now_ns();
  for (std::size_t i = 0; i < begun.size(); ++i, due += interval_ns) {
    sleep_until(due);
    begun[i] = now_ns();
    insert.bind(1, first + static_cast<std::int64_t>(i)).bind(2, row).run();
    returned[i] = now_ns();
  }
}

}  // namespace

int visible(const Words& words) {
  ::prctl(PR_SET_TIMERSLACK, 1);  // 50 us else, also of the thread made below
  const std::int64_t rate = std::stoll(words[2]);
  const auto count = static_cast<std::size_t>(rate * std::stoll(words[3]));
  Connection primary(words[0]);
  primary.run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL");
  primary.run("CREATE TABLE IF NOT EXISTS beat(id INTEGER PRIMARY KEY, value TEXT)");
  const std::int64_t first = Statement(primary, "SELECT coalesce(max(id), 0) FROM beat").run() + 1;
  ::timespec half_a_second{0, 500'000'000};
  ::nanosleep(&half_a_second, nullptr);
  Connection replica(words[1]);
  Connection reader(words[1]);
  Statement newest(replica, "SELECT max(id) FROM beat");
  Statement held(reader, "SELECT id FROM t");
  if (words[4] != "0") held.hold();

  std::vector<std::int64_t> begun(count);
  std::vector<std::int64_t> returned(count);
  std::vector<std::int64_t> seen(count);
  std::thread writer([&] { commit_steadily(primary, first, 1'000'000'000 / rate, begun, returned); });
  std::size_t next = 0;
  const std::int64_t deadline = now_ns() + std::stoll(words[3]) * 2'000'000'000 + kGiveUpNs;
  while (next < count) {
    const std::int64_t id = newest.run();
    const std::int64_t at = now_ns();
    while (next < count && first + static_cast<std::int64_t>(next) <= id) seen[next++] = at;
    if (at > deadline) give_up("the replica has not seen row " + std::to_string(next));
    sleep_until(at + kPollNs);
  }
  writer.join();
  held.let_go();

  std::vector<std::int64_t> from_begin(count);
  std::vector<std::int64_t> commit(count);
  for (std::size_t i = 0; i < count; ++i) {
    from_begin[i] = seen[i] - begun[i];
    commit[i] = returned[i] - begun[i];
  }
  std::sort(from_begin.begin(), from_begin.end());
  std::sort(commit.begin(), commit.end());
  const double seconds = static_cast<double>(returned.back() - begun.front()) / 1e9;
  std::cout << nlohmann::json{{"transactions", count},
                              {"rate", static_cast<double>(count) / seconds},
                              {"p50_ms", percentile_ms(from_begin, 0.5)},
                              {"p99_ms", percentile_ms(from_begin, 0.99)},
                              {"max_ms", percentile_ms(from_begin, 1)},
                              {"percentiles", distribution(from_begin)},
                              {"commit_p50_ms", percentile_ms(commit, 0.5)},
                              {"commit_p99_ms", percentile_ms(commit, 0.99)}}
            << "\n";
  return 0;
}

}  // namespace rillfs::bench
