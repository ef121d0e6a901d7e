// Goal: what was dropped is known after a restart; what was not, never, whatever the file looks like.
#include "fs/dropped_databases.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/unit/fs/sqlite_support.h"

namespace rillfs {
namespace {

class DroppedDatabasesTest : public ::testing::Test {
 protected:
  std::string path() const { return directory_.file("dropped"); }
  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
};

TEST_F(DroppedDatabasesTest, AreKnownAfterARestart) {
  for (std::uint64_t id = 1; id <= 3; ++id) {
    DroppedDatabases dropped(files_, path());
    ASSERT_TRUE(dropped.load());
    ASSERT_TRUE(dropped.add(DatabaseId{id}));
  }
  DroppedDatabases dropped(files_, path());
  ASSERT_TRUE(dropped.load());
  for (std::uint64_t id = 1; id <= 3; ++id) EXPECT_TRUE(dropped.contains(DatabaseId{id}));
  EXPECT_FALSE(dropped.contains(DatabaseId{4}));
}

TEST_F(DroppedDatabasesTest, OneThatIsTornIsForgottenAndTheNextOneIsKnown) {
  {
    DroppedDatabases dropped(files_, path());
    ASSERT_TRUE(dropped.add(DatabaseId{1}));
    ASSERT_TRUE(dropped.add(DatabaseId{0x1234}));
  }
  std::filesystem::resize_file(path(), 17 + 5);
  {
    DroppedDatabases dropped(files_, path());
    ASSERT_TRUE(dropped.load());
    EXPECT_FALSE(dropped.contains(DatabaseId{0x1234}));
    ASSERT_TRUE(dropped.add(DatabaseId{2}));
  }
  DroppedDatabases dropped(files_, path());
  ASSERT_TRUE(dropped.load());
  EXPECT_TRUE(dropped.contains(DatabaseId{1}));
  EXPECT_TRUE(dropped.contains(DatabaseId{2}));
}

TEST_F(DroppedDatabasesTest, OnlyTheNewestAreKept) {
  constexpr std::size_t kCount = 2 * DroppedDatabases::kRemembered;
  {
    std::ofstream file(path());
    for (std::size_t id = 1; id <= kCount; ++id) file << to_hex(id) << '\n';
  }
  DroppedDatabases dropped(files_, path());
  ASSERT_TRUE(dropped.load());
  EXPECT_FALSE(dropped.contains(DatabaseId{1}));
  EXPECT_TRUE(dropped.contains(DatabaseId{kCount}));
  EXPECT_EQ(std::filesystem::file_size(path()), DroppedDatabases::kRemembered * 17);
  ASSERT_TRUE(dropped.add(DatabaseId{kCount + 1}));
  DroppedDatabases again(files_, path());
  ASSERT_TRUE(again.load());
  EXPECT_TRUE(again.contains(DatabaseId{kCount + 1}));
}

}  // namespace
}  // namespace rillfs
