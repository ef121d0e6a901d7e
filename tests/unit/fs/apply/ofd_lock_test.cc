// Goal: our locks conflict with applications' POSIX locks, and nothing but their owner ends them.
#include "fs/apply/ofd_lock.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/unit/fs/apply/change_sets.h"

namespace rillfs::apply {
namespace {

using namespace std::chrono_literals;

class OfdLockTest : public testing::Test {
 protected:
  void SetUp() override {
    test::write_all(path_, Buffer(10));
    one_ = std::move(Descriptor::open(path_)).value();
    two_ = std::move(Descriptor::open(path_)).value();
  }
  static bool can_lock(const Descriptor& fd, LockRange range, LockMode mode) {
    return OfdLock::try_lock(fd.get(), range, mode)->has_value();
  }

  test::TemporaryDirectory dir_;
  std::string path_ = dir_.file("f");
  Descriptor one_;
  Descriptor two_;
  SystemClock clock_;
};

TEST_F(OfdLockTest, ExclusiveExcludesAndSharedShares) {
  auto shared = OfdLock::try_lock(one_.get(), {120, 4}, LockMode::kShared);
  ASSERT_TRUE(shared->has_value());
  EXPECT_TRUE(can_lock(two_, {120, 4}, LockMode::kShared));
  EXPECT_FALSE(can_lock(two_, {123, 1}, LockMode::kExclusive));
  EXPECT_TRUE(can_lock(two_, {124, 1}, LockMode::kExclusive));
  EXPECT_TRUE(*(*shared)->try_convert(LockMode::kExclusive));
  EXPECT_FALSE(can_lock(two_, {120, 4}, LockMode::kShared));
  (*shared)->release();
  EXPECT_TRUE(can_lock(two_, {120, 4}, LockMode::kExclusive));
}

TEST_F(OfdLockTest, SurvivesTheClosingOfAnotherDescriptor) {
  auto lock = OfdLock::try_lock(one_.get(), {0, 1}, LockMode::kExclusive);
  { const Descriptor third = std::move(Descriptor::open(path_)).value(); }
  EXPECT_FALSE(can_lock(two_, {0, 1}, LockMode::kShared));
}

TEST_F(OfdLockTest, MovingMovesTheLock) {
  OfdLock target;
  {
    auto lock = OfdLock::try_lock(one_.get(), {0, 1}, LockMode::kExclusive);
    target = std::move(**lock);
  }
  EXPECT_TRUE(target.held());
  EXPECT_FALSE(can_lock(two_, {0, 1}, LockMode::kShared));
}

TEST_F(OfdLockTest, BoundedWaitNamesTheProcessInTheWay) {
  ChildProcess holder([this](ChildProcess& self) {
    const int fd = ::open(path_.c_str(), O_RDWR);
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_start = 5;
    lock.l_len = 2;
    if (fcntl(fd, F_SETLK, &lock) != 0) return false;
    self.say_ready();
    self.wait_for_stop();
    return true;
  });
  holder.wait_ready();
  const auto began = clock_.monotonic();
  const auto lock = OfdLock::lock_until(one_.get(), {6, 1}, LockMode::kShared, clock_, began + 30ms);
  ASSERT_FALSE(lock);
  EXPECT_EQ(lock.error().code, ErrorCode::kBusy);
  EXPECT_NE(lock.error().message.find(std::to_string(holder.pid())), std::string::npos);
  EXPECT_GE(clock_.monotonic() - began, 30ms);
  const auto conflict = find_conflict(one_.get(), {0, 100}, LockMode::kShared);
  ASSERT_TRUE(conflict->has_value());
  EXPECT_EQ((*conflict)->pid, holder.pid());
  EXPECT_EQ((*conflict)->range.start, 5);
  EXPECT_TRUE(holder.stop());
  EXPECT_TRUE(OfdLock::lock_until(one_.get(), {6, 1}, LockMode::kShared, clock_, began));
  EXPECT_FALSE(find_conflict(one_.get(), {0, 100}, LockMode::kShared)->has_value());
}

}  // namespace
}  // namespace rillfs::apply
