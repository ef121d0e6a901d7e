// Goal: the hash tables hold exactly the frames that were entered last. Method: look at the file itself.
#include "fs/apply/shared_index.h"

#include <gtest/gtest.h>

#include "tests/unit/fs/sqlite_support.h"

namespace rillfs::apply {
namespace {

using namespace sqlite;

TEST(SharedIndex, AbandonedEntriesAreRemovedWhenTheirFrameIsEnteredAgain) {
  test::TemporaryDirectory dir;
  test::write_all(dir.file("shm"), Buffer(kIndexRegionSize));
  const Descriptor shm = std::move(Descriptor::open(dir.file("shm"))).value();
  SharedIndex index = std::move(SharedIndex::map(shm)).value();
  for (std::uint32_t frame = 1; frame <= 10; ++frame) ASSERT_TRUE(index.insert(frame, Pgno{7}));
  ASSERT_TRUE(index.insert(4, Pgno{9}));
  const Buffer bytes = test::read_all(dir.file("shm"));
  int slots = 0;
  for (std::size_t at = kIndexHashTable; at < bytes.size(); at += 2) {
    const auto entry = load_host<std::uint16_t>(bytes.data() + at);
    EXPECT_LE(entry, 4);
    slots += entry != 0;
  }
  EXPECT_EQ(slots, 4);
  EXPECT_EQ(load_host<std::uint32_t>(bytes.data() + kIndexRegion0Pages + 4 * 3), 9U);
  EXPECT_EQ(load_host<std::uint32_t>(bytes.data() + kIndexRegion0Pages + 4 * 4), 0U);
}

}  // namespace
}  // namespace rillfs::apply
