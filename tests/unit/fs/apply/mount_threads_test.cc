// Goal: whoever waits for a checkpoint on a mount thread is not waited for by it. Method: all of the threads
// wait, as appliers do before they rename, remove or close what they apply.
#include "fs/apply/mount_threads.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <latch>

namespace rillfs::apply {
namespace {

TEST(MountThreadsTest, ACheckpointRunsWhileAllOthersWaitForOne) {
  constexpr int kCount = 4;
  MountThreads threads(kCount);
  EXPECT_EQ(threads.ids().size(), kCount + 1U);
  std::latch all_are_busy(kCount);
  std::atomic<int> ended = 0;
  for (int i = 0; i < kCount; ++i) {
    boost::asio::post(threads.make_strand(), [&] {
      std::atomic<bool> checkpointing = true;
      all_are_busy.arrive_and_wait();
      boost::asio::post(threads.checkpoint_executor(), [&] { checkpointing = false; });
      while (checkpointing) ::usleep(100);
      ++ended;
    });
  }
  threads.stop();
  EXPECT_EQ(ended, kCount);
}

}  // namespace
}  // namespace rillfs::apply
