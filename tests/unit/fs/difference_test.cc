// Goal: what is received by difference on real files is the primary's database, whatever the old file holds.
// Method: both sides of the comparison without a network between a captured primary and a receiver.
#include <fstream>

#include "fs/snapshot_receiver.h"
#include "replication/stream/comparison.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs::test {
namespace {

class DifferenceOnFiles : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("PRAGMA journal_mode=" + GetParam());
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    for (int i = 1; i <= 200; ++i) add(i);
    std::filesystem::create_directories(primary_.environment().spool_directory());
  }
  void add(int n) { db_->run("INSERT INTO t VALUES(" + std::to_string(n) + ", randomblob(3000))"); }
  std::shared_ptr<Database> database() { return primary_.database("app.db"); }
  /// As a replica has it that has applied everything so far.
  void keep_old() {
    db_->run("PRAGMA wal_checkpoint(TRUNCATE)");
    std::filesystem::copy_file(primary_.tree() + "/app.db", old_,
                               std::filesystem::copy_options::overwrite_existing);
  }
  void begin() {
    auto source = primary_.databases().pages(database()->id());
    ASSERT_TRUE(source);
    start_ = (*source)->start();
    follow_ = std::move(primary_.databases().follow(database()->id(), start_).value());
    receiver_ = std::move(
        SnapshotReceiver::begin(primary_.environment(), database()->info(), start_, (*source)->page_size())
            .value());
    ASSERT_TRUE(receiver_->compare_with(old_));
    comparison_ = std::make_unique<stream::Comparison>(std::move(*source));
  }
  /// Up to the end; returns the pages that were sent.
  int compare() {
    int sent = 0;
    for (std::uint64_t request = 1; !comparison_->done(); ++request) {
      auto message = comparison_->ask(database()->id(), request);
      Buffer sums;
      for (const auto& run : stream::runs_of(message.sums_wanted()).value())
        stream::append_sums(receiver_->page_sums(run.first, run.count).value(), message.sums_wanted().range(),
                            sums);
      EXPECT_TRUE(comparison_->answered(request, sums));
      while (comparison_->has_pages()) {
        auto page = comparison_->next();
        EXPECT_TRUE(page);
        if (!page || !*page) continue;
        EXPECT_TRUE(receiver_->page((*page)->pgno, (*page)->data));
        ++sent;
      }
    }
    EXPECT_TRUE(receiver_->end(comparison_->pages().position()));
    return sent;
  }
  void catch_up() {
    while (!receiver_->complete()) {
      auto info = follow_->next().value();
      ASSERT_TRUE(info);
      Buffer image(info->image_size);
      for (std::size_t done = 0; done < image.size();)
        done += follow_->read(MutableBytes(image).subspan(done)).value();
      auto taken = receiver_->change_set(*info, {image, ""});
      ASSERT_TRUE(taken) << taken.error().message;
    }
  }
  void expect_verified() {
    auto verified = receiver_->verify();
    ASSERT_TRUE(verified) << verified.error().message;
    EXPECT_EQ(receiver_->content().hash(), database()->content().hash());
    EXPECT_EQ(receiver_->content().position(), database()->published());
  }

  TemporaryDirectory data_;
  PosixFileSystem files_;
  Primary primary_{files_, data_.file("data")};
  std::string old_ = data_.file("old");
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
  Position start_;
  std::unique_ptr<stream::ChangeSetCursor> follow_;
  std::unique_ptr<SnapshotReceiver> receiver_;
  std::unique_ptr<stream::Comparison> comparison_;
};

TEST_P(DifferenceOnFiles, OfTheSameContentIsNothing) {
  keep_old();
  begin();
  EXPECT_EQ(compare(), 0);
  expect_verified();
}

TEST_P(DifferenceOnFiles, OfOneChangedRowIsAFewPages) {
  keep_old();
  db_->run("UPDATE t SET b=randomblob(3000) WHERE n=100");
  begin();
  const int sent = compare();
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, 10);
  expect_verified();
}

TEST_P(DifferenceOnFiles, OfAFileThatIsDamagedTornOrCutOffComesFromThePrimary) {
  keep_old();
  std::filesystem::resize_file(old_, std::filesystem::file_size(old_) - 5000);
  std::fstream file(old_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(10 * 4096 + 17);
  file << "damaged";
  file.close();
  begin();
  EXPECT_EQ(compare(), 3);
  expect_verified();
}

TEST_P(DifferenceOnFiles, OfAnEmptyFileIsEverything) {
  std::ofstream(old_).close();
  begin();
  EXPECT_EQ(compare(), static_cast<int>(database()->page_count().value));
  expect_verified();
}

TEST_P(DifferenceOnFiles, OfADatabaseThatShrankIsCutOff) {
  keep_old();
  db_->run("DELETE FROM t WHERE n > 20");
  db_->run("VACUUM");
  begin();
  compare();
  expect_verified();
  EXPECT_EQ(std::filesystem::file_size(receiver_->path()),
            std::uint64_t{database()->page_count().value} * 4096);
}

TEST_P(DifferenceOnFiles, IsExactAtTheEndWhileCommitsGrowAndShrinkTheDatabase) {
  keep_old();
  db_->run("UPDATE t SET b=randomblob(3000) WHERE n % 10 = 0");
  begin();
  for (int i = 201; i <= 260; ++i) add(i);
  compare();
  catch_up();
  expect_verified();

  begin();
  db_->run("DELETE FROM t WHERE n > 30");
  db_->run("VACUUM");
  for (int i = 1000; i <= 1005; ++i) add(i);
  compare();
  catch_up();
  expect_verified();
}

TEST_P(DifferenceOnFiles, EndsWhereThePageSizeChanges) {
  if (GetParam() == "WAL") GTEST_SKIP() << "SQLite does not change it there";
  keep_old();
  begin();
  db_->run("PRAGMA page_size=1024");
  db_->run("VACUUM");
  EXPECT_EQ(compare(), 0);
  catch_up();
  expect_verified();
  EXPECT_EQ(receiver_->page_size(), 1024U);
}

TEST_P(DifferenceOnFiles, PagesOutOfTurnAreRefused) {
  keep_old();
  begin();
  auto sums = receiver_->page_sums(Pgno{2}, 1);
  ASSERT_FALSE(sums);
  EXPECT_EQ(sums.error().code, ErrorCode::kInvalid);
  EXPECT_FALSE(receiver_->page_sums(Pgno{0}, 1));
  EXPECT_TRUE(receiver_->page_sums(Pgno{1}, 32768));  // beyond its end: not there
  EXPECT_EQ(receiver_->page_sums(Pgno{32768}, 1).value().at(0), 0U);
}

INSTANTIATE_TEST_SUITE_P(Modes, DifferenceOnFiles, testing::Values("WAL", "DELETE"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace rillfs::test
