// Goal: every task that is posted runs, once, whatever posts it and however many threads wait. Method:
// counted tasks, posted from outside, from tasks and through strands; a hang fails by the test's time limit.
#include "replication/base/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <memory>
#include <vector>

namespace rillfs {
namespace {

TEST(WorkerPool, RunsWhatManyThreadsPost) {
  std::atomic<int> ran{0};
  {
    WorkerPool pool(3);
    std::vector<std::thread> posters;
    for (int i = 0; i < 4; ++i) {
      posters.emplace_back([&] {
        for (int n = 0; n < 20'000; ++n) boost::asio::post(pool, [&] { ++ran; });
      });
    }
    for (auto& poster : posters) poster.join();
    pool.join();
    EXPECT_EQ(ran, 80'000);
  }
}

TEST(WorkerPool, JoinRunsWhatTasksPostMeanwhile) {
  WorkerPool pool(2);
  std::atomic<int> ran{0};
  std::function<void(int)> chain = [&](int left) {
    ++ran;
    if (left > 0) boost::asio::post(pool, [&, left] { chain(left - 1); });
  };
  boost::asio::post(pool, [&] { chain(1000); });
  pool.join();
  EXPECT_EQ(ran, 1001);
}

TEST(WorkerPool, StrandsOnItRunOneTaskAtATimeAndInOrder) {
  WorkerPool pool(4);
  auto strand = boost::asio::make_strand(boost::asio::any_io_executor(pool.get_executor()));
  std::vector<int> order;  // no lock: the strand is one
  for (int i = 0; i < 5000; ++i) boost::asio::post(strand, [&, i] { order.push_back(i); });
  pool.join();
  ASSERT_EQ(order.size(), 5000U);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
}

TEST(WorkerPool, TakesTasksThatCanBeMovedOnlyAndDestroysThemOnTheWorker) {
  WorkerPool pool(1);
  std::thread::id destroyed_on;
  struct Tell {
    std::thread::id* where;
    ~Tell() { *where = std::this_thread::get_id(); }
  };
  auto held = std::unique_ptr<Tell>(new Tell{&destroyed_on});
  boost::asio::post(pool, [held = std::move(held)] {});
  pool.join();
  EXPECT_NE(destroyed_on, std::thread::id());
  EXPECT_NE(destroyed_on, std::this_thread::get_id());
}

}  // namespace
}  // namespace rillfs
