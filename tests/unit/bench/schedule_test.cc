// Goal: the times at which operations are meant to start do not depend on when they did.
#include "tests/bench/generator/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace rillfs::bench {
namespace {

TEST(Schedule, WithoutARateTheNextStartsNow) {
  Schedule schedule(1000, 0, 0, 1);
  EXPECT_FALSE(schedule.is_open());
  EXPECT_EQ(schedule.next(5000), 5000);
  EXPECT_EQ(schedule.next(9000), 9000);
  EXPECT_EQ(schedule.left_before(1'000'000), 0U);
}

TEST(Schedule, TimesDoNotMoveWhenTheSystemIsSlow) {
  Schedule schedule(1'000'000, 1000, 0, 1);
  EXPECT_EQ(schedule.next(1'000'000), 1'000'000);
  EXPECT_EQ(schedule.next(9'000'000'000), 2'000'000);
  EXPECT_EQ(schedule.next(9'000'000'000), 3'000'000);
}

TEST(Schedule, WorkersTakeTurnsAndTogetherHaveEachTimeOnce) {
  std::vector<std::int64_t> times;
  for (std::uint64_t worker = 0; worker < 3; ++worker) {
    Schedule schedule(0, 500, worker, 3);
    for (int i = 0; i < 4; ++i) times.push_back(schedule.next(0));
  }
  std::sort(times.begin(), times.end());
  for (std::size_t i = 0; i < times.size(); ++i)
    EXPECT_EQ(times[i], static_cast<std::int64_t>(i) * 2'000'000);
}

TEST(Schedule, AnUnevenRateDoesNotDrift) {
  Schedule schedule(0, 3, 0, 1);
  std::int64_t last = 0;
  for (int i = 0; i <= 3'000'000; ++i) last = schedule.next(0);
  EXPECT_EQ(last, 1'000'000'000'000'000);
}

TEST(Schedule, CountsWhatThereIsNoTimeFor) {
  Schedule schedule(0, 10, 0, 1);
  schedule.next(0);
  EXPECT_EQ(schedule.left_before(1'000'000'000), 9U);  // 0.1 s to 0.9 s
  Schedule of_two(0, 10, 1, 2);
  EXPECT_EQ(of_two.left_before(1'000'000'000), 5U);
}

}  // namespace
}  // namespace rillfs::bench
