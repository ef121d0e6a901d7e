// Goal: a branch that lost is there afterwards, complete and as a plain SQLite file, once, and never half.
// Method: a captured primary whose commits are in the file, in the WAL, or only in the log is parked.
#include "fs/parking.h"

#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class Parking : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("PRAGMA journal_mode=" + GetParam());
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    for (int i = 1; i <= 5; ++i) add(i);
  }
  void add(int n) { db_->run("INSERT INTO t VALUES(" + std::to_string(n) + ", randomblob(9000))"); }
  std::shared_ptr<Database> database() { return primary_.database("app.db"); }
  std::string parked() const { return data_.file("data/parked"); }
  std::uint64_t count() { return count_parked(posix_, parked(), database()->id()); }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(parked()))
      result.push_back(entry.path().filename());
    std::sort(result.begin(), result.end());
    return result;
  }
  std::int64_t newest(const std::string& name) {
    Sqlite db(parked() + "/" + name + "/database");
    EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
    return db.number("SELECT max(n) FROM t");
  }

  TemporaryDirectory data_;
  PosixFileSystem posix_;
  FaultyFileSystem files_{posix_};
  Primary primary_{files_, data_.file("data")};
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
};

TEST_P(Parking, KeepsEveryCommitWhereverItsPagesAre) {
  EXPECT_EQ(count(), 0U);
  auto result = park(primary_.environment(), *database());
  ASSERT_TRUE(result) << result.error().message;
  ASSERT_EQ(names().size(), 1U);
  const Position position = database()->published();
  EXPECT_EQ(names()[0], to_hex(database()->id().value) + "-1-" + to_hex(position.txid.value) + "-" +
                            to_hex(position.checksum.value));
  EXPECT_TRUE(std::filesystem::exists(parked() + "/" + names()[0] + "/info.json"));
  EXPECT_EQ(newest(names()[0]), 5);
  EXPECT_EQ(count(), 1U);
}

// A checkpoint and upkeep, as a replica's last reader leaves them behind.
TEST_P(Parking, KeepsEveryCommitEvenIfTheBaseMovesWhileItIsCopied) {
  ASSERT_TRUE(database()->advance_base(true));
  add(6);
  // The first page of the file is in the copy, and the last commits are not.
  files_.before_next("park", [&] {
    files_.before_next("park", [&] {
      files_.before_next("park", [&] {
        ASSERT_TRUE(database()->write_back());
        ASSERT_TRUE(database()->advance_base(true));
      });
    });
  });
  ASSERT_TRUE(park(primary_.environment(), *database()));
  EXPECT_EQ(newest(names()[0]), 6);
}

TEST_P(Parking, OnceIsEnoughAndAnotherBranchIsAnotherOne) {
  ASSERT_TRUE(park(primary_.environment(), *database()));
  const std::string first = names()[0];
  const auto made = std::filesystem::last_write_time(parked() + "/" + first + "/database");
  ASSERT_TRUE(park(primary_.environment(), *database()));
  EXPECT_EQ(std::filesystem::last_write_time(parked() + "/" + first + "/database"), made);
  EXPECT_EQ(count(), 1U);
  add(6);
  ASSERT_TRUE(park(primary_.environment(), *database()));
  EXPECT_EQ(count(), 2U);
  EXPECT_EQ(newest(names()[0]), 5);
  EXPECT_EQ(newest(names()[1]), 6);
}

TEST_P(Parking, ChangesNothingInTheDatabaseItself) {
  const Position before = database()->published();
  ASSERT_TRUE(park(primary_.environment(), *database()));
  EXPECT_EQ(database()->published(), before);
  add(6);
  EXPECT_EQ(db_->text("PRAGMA integrity_check"), "ok");
  EXPECT_FALSE(database()->has_unlogged_writes());
}

TEST_P(Parking, WhicheverCallFailsNothingHalfCountsAndTheNextTryIsComplete) {
  for (int nth = 0;; ++nth) {
    SCOPED_TRACE(nth);
    std::filesystem::remove_all(parked());
    std::filesystem::create_directory(parked());
    files_.fail_nth(nth, ENOSPC);
    auto result = park(primary_.environment(), *database());
    const bool fired = files_.fired();
    files_.stop_failing();
    if (fired) {
      EXPECT_FALSE(result);
    }
    for (const std::string& name : names()) {
      if (name.ends_with(".tmp")) continue;
      EXPECT_EQ(newest(name), 5);
    }
    ASSERT_TRUE(park(primary_.environment(), *database()));
    ASSERT_EQ(count(), 1U);
    EXPECT_EQ(newest(names()[0]), 5);
    if (!fired) break;
  }
}

TEST_P(Parking, CountsOnlyThisDatabasesBranches) {
  ASSERT_TRUE(park(primary_.environment(), *database()));
  const std::string id = to_hex(database()->id().value);
  std::filesystem::create_directory(parked() + "/" + id + "-2-0000000000000009.tmp");
  std::filesystem::create_directory(parked() + "/" + to_hex(database()->id().value + 1) + "-2-1");
  EXPECT_EQ(count(), 1U);
  EXPECT_EQ(count_parked(posix_, data_.file("nowhere"), database()->id()), 0U);
}

INSTANTIATE_TEST_SUITE_P(Mode, Parking, testing::Values("WAL", "DELETE"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace rillfs::test
