// Who listens: exactly one, whatever the workers do.
#include "fs/mount/lead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace rillfs::mount {
namespace {

TEST(Lead, GoesToOneThreadAtATime) {
  constexpr int kRequests = 20'000;
  Lead lead;
  std::atomic<int> listening{0};
  std::atomic<int> received{0};
  std::atomic<int> answered{0};
  auto work = [&] {
    while (lead.take()) {
      for (bool leads = true; leads;) {
        EXPECT_EQ(++listening, 1);
        const int request = received++;
        --listening;
        if (request >= kRequests) {
          lead.end();
          break;
        }
        if (request % 7 == 0) {  // slow from the start
          lead.give();
          leads = false;
        } else {
          lead.begin_answer();
          if (request % 5 == 0) lead.about_to_wait();
          leads = lead.end_answer();
          EXPECT_TRUE(leads || request % 5 == 0 || lead.taken_away() > 0);
        }
        ++answered;
      }
    }
  };
  std::vector<std::thread> workers;
  for (int i = 0; i < 8; ++i) workers.emplace_back(work);
  for (std::thread& worker : workers) worker.join();
  EXPECT_EQ(answered, kRequests);
}

TEST(Lead, IsTakenFromALeaderThatDoesNotComeBack) {
  Lead lead;
  ASSERT_TRUE(lead.take());
  lead.begin_answer();
  std::thread follower([&] {
    EXPECT_TRUE(lead.take());                                  // or this test never ends
    while (lead.taken_away() == 0) std::this_thread::yield();  // likewise; it is counted a moment later
    lead.give();
  });
  follower.join();
  EXPECT_FALSE(lead.end_answer());
}

TEST(Lead, IsTakenAwayAlsoAfterTheWatchHasSlept) {
  Lead lead;
  ASSERT_TRUE(lead.take());
  lead.begin_answer();
  ASSERT_TRUE(lead.end_answer());
  while (!lead.watch_sleeps()) std::this_thread::yield();
  lead.begin_answer();
  std::thread follower([&] {
    EXPECT_TRUE(lead.take());
    lead.give();
  });
  follower.join();
  EXPECT_FALSE(lead.end_answer());
}

TEST(Lead, IsNotTakenForAnAnswerOfBefore) {
  Lead lead;
  ASSERT_TRUE(lead.take());
  lead.begin_answer();
  lead.about_to_wait();
  ASSERT_FALSE(lead.end_answer());
  std::thread next([&] {
    ASSERT_TRUE(lead.take());
    lead.begin_answer();
  });
  next.join();
  lead.about_to_wait();  // it is the other thread that leads
  std::atomic<bool> took = false;
  std::thread follower([&] { took = lead.take(); });
  while (!took || lead.taken_away() == 0) std::this_thread::yield();  // it is counted a moment later
  EXPECT_EQ(lead.taken_away(), 1U);                                   // by the watch, and by nobody else
  follower.join();
}

TEST(Lead, StaysDuringASyncWhileOneThreadAloneSendsRequests) {
  Lead lead;
  std::thread watched([&] {
    // Another one has it as soon as it is given away.
    while (lead.take()) lead.give();
  });
  const auto keeps_it = [&](std::uint32_t thread) {
    EXPECT_TRUE(lead.take());
    lead.note_requester(thread);
    lead.begin_answer();
    lead.about_to_sync();
    const bool kept = lead.end_answer();
    if (kept) lead.give();
    return kept;
  };
  EXPECT_FALSE(keeps_it(7));
  for (int i = 0; i < 1000; ++i) lead.note_requester(7);
  EXPECT_TRUE(keeps_it(7) || lead.taken_away() != 0);  // on a slow machine the watch takes it
  EXPECT_FALSE(keeps_it(8));
  EXPECT_FALSE(keeps_it(7));
  lead.end();
  watched.join();
}

TEST(Lead, EndsForThoseWhoWait) {
  Lead lead;
  ASSERT_TRUE(lead.take());
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) workers.emplace_back([&] { EXPECT_FALSE(lead.take()); });
  lead.end();
  for (std::thread& worker : workers) worker.join();
  EXPECT_FALSE(lead.take());
}

}  // namespace
}  // namespace rillfs::mount
