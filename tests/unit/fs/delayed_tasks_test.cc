// Goal: tasks run once, in the order of their times, never early, and none after stop. Method: real threads;
// every wait is for a task that must come.
#include "fs/delayed_tasks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <vector>

namespace rillfs {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

TEST(DelayedTasks, RunInTheOrderOfTheirTimesNotOfTheirComing) {
  DelayedTasks tasks;
  std::vector<int> order;
  std::promise<void> last;
  tasks.run_after(milliseconds(60), [&] {
    order.push_back(3);
    last.set_value();
  });
  tasks.run_after(milliseconds(30), [&] { order.push_back(2); });
  tasks.run_after(milliseconds(0), [&] { order.push_back(1); });
  last.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST(DelayedTasks, OfTheSameTimeRunInTheOrderTheyCame) {
  DelayedTasks tasks;
  std::vector<int> order;
  std::promise<void> first;
  std::promise<void> last;
  tasks.run_after(milliseconds(0), [&] { first.get_future().wait(); });
  for (int i = 0; i < 50; ++i) tasks.run_after(milliseconds(0), [&order, i] { order.push_back(i); });
  tasks.run_after(milliseconds(0), [&] { last.set_value(); });
  first.set_value();
  last.get_future().wait();
  ASSERT_EQ(order.size(), 50U);
  EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
}

TEST(DelayedTasks, AreNeverEarly) {
  DelayedTasks tasks;
  std::promise<steady_clock::time_point> ran;
  const auto asked = steady_clock::now();
  tasks.run_after(milliseconds(20), [&] { ran.set_value(steady_clock::now()); });
  EXPECT_GE(ran.get_future().get() - asked, milliseconds(20));
}

TEST(DelayedTasks, AnEarlierOneWakesTheThreadThatSleepsForALaterOne) {
  DelayedTasks tasks;
  tasks.run_after(hours(1), [] { FAIL(); });
  std::promise<void> ran;
  tasks.run_after(milliseconds(1), [&] { ran.set_value(); });
  ran.get_future().wait();
}

TEST(DelayedTasks, MayAskForMore) {
  DelayedTasks tasks;
  std::promise<void> ran;
  int left = 5;
  std::function<void()> again = [&] {
    if (--left == 0) return ran.set_value();
    tasks.run_after(milliseconds(1), again);
  };
  tasks.run_after(milliseconds(0), again);
  ran.get_future().wait();
  EXPECT_EQ(left, 0);
}

TEST(DelayedTasks, StopWaitsForTheOneThatRunsAndForgetsTheOthers) {
  DelayedTasks tasks;
  std::promise<void> running;
  std::promise<void> go_on;
  std::atomic<bool> finished = false;
  tasks.run_after(milliseconds(0), [&] {
    running.set_value();
    go_on.get_future().wait();
    finished = true;
  });
  running.get_future().wait();
  std::thread stopping([&] {
    tasks.stop();
    EXPECT_TRUE(finished);
  });
  go_on.set_value();
  stopping.join();
  tasks.run_after(milliseconds(0), [&] { ADD_FAILURE() << "nothing runs after stop"; });
  tasks.stop();
}

TEST(DelayedTasks, WhatATaskHoldsIsLetGoWhenItIsForgotten) {
  auto held = std::make_shared<int>(1);
  {
    DelayedTasks tasks;
    tasks.run_after(hours(1), [held] {});
    tasks.stop();
    EXPECT_EQ(held.use_count(), 1);
  }
}

}  // namespace
}  // namespace rillfs
