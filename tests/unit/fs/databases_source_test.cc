// Goal: what replicas hold of a primary's log is bounded. Method: cursors as the publisher has them, over a
// captured primary with a log that forgets at once, and commits that go on.
#include "unit/fs/captured_sqlite.h"

namespace rillfs::test {
namespace {

class SourceOfASlowReplica : public testing::Test {
 protected:
  void SetUp() override {
    primary_.environment().log_options.segment_size_max = 16 << 10;
    primary_.environment().log_options.retain_bytes = 64 << 10;
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    db_->run("INSERT INTO t VALUES(0, zeroblob(200000))");
  }
  /// So many KiB of log.
  void commit(int kib) {
    for (int i = 0; i < kib; i += 8)
      db_->run("INSERT OR REPLACE INTO t VALUES(1 + abs(random()) % 8, randomblob(8000))");
    ASSERT_TRUE(database()->advance_base(true));
  }
  std::shared_ptr<Database> database() { return primary_.database("app.db"); }
  std::uint64_t log_bytes() { return database()->details().log_bytes; }

  TemporaryDirectory data_;
  PosixFileSystem files_;
  Primary primary_{files_, data_.file("data")};
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
};

TEST_F(SourceOfASlowReplica, ThatDoesNotReadHoldsTheLogWithinItsBudgetOnly) {
  auto cursor = primary_.databases().follow(database()->id(), database()->published());
  ASSERT_TRUE(cursor);
  commit(1000);
  EXPECT_LT(log_bytes(), 128u << 10);
  auto next = (*cursor)->next();
  while (next && *next) next = (*cursor)->next();  // the segment that it has open
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kNotInLog);
}

TEST_F(SourceOfASlowReplica, ThatTakesASnapshotHasAsMuchBeyondItAsTheDatabaseIsLarge) {
  const std::uint64_t size = database()->details().size;
  auto snapshot = primary_.databases().snapshot(database()->id());
  auto pages = primary_.databases().pages(database()->id());
  ASSERT_TRUE(snapshot && pages);
  auto follower = primary_.databases().follow(database()->id(), (*snapshot)->start());
  commit(static_cast<int>(size >> 10) - 50);
  EXPECT_GT(log_bytes(), size - (64u << 10));
  auto next = (*follower)->next();
  ASSERT_TRUE(next && *next) << "what completes the snapshot";
  EXPECT_EQ((*next)->pre, (*snapshot)->start());
  commit(1000);
  EXPECT_LT(log_bytes(), size + (128u << 10));
}

}  // namespace
}  // namespace rillfs::test
