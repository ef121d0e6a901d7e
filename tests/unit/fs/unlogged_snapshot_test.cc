// Goal: a snapshot comes to its end, and is right, while an application now and then writes without a
// journal. Method: a feeder on a captured primary; each round sends a part, and a write meets it that is
// taken over later.
#include <set>

#include "replication/ltx/checksum.h"
#include "replication/stream/feeder.h"
#include "replication/stream/page_batch.h"
#include "replication/stream/page_sums_answer.h"
#include "replication/wire/frame.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs::test {
namespace {

/// Its parameter: by difference, of a replica that has nothing of the same.
class UnloggedWritesMeetASnapshot : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run(
        "CREATE TABLE t(x); CREATE TABLE u(x); INSERT INTO u VALUES(0);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000)"
        "INSERT INTO t SELECT randomblob(4000) FROM n; PRAGMA journal_mode=MEMORY");
    database_ = primary_.database("app.db");
    std::unordered_map<DatabaseId, Position> have;
    if (GetParam()) have[database_->id()] = {Epoch{1}, Txid{99}, Checksum{Checksum::kFlag | 9}};
    feeder_ = std::make_unique<stream::Feeder>(primary_.databases(), record_, have, 2);
  }
  void fill() {
    Buffer out;
    feeder_->fill({}, {}, out);
    for (Bytes bytes = out; !bytes.empty();) {
      auto space = parser_.space();
      const std::size_t count = std::min(space.size(), bytes.size());
      std::copy_n(bytes.begin(), count, space.begin());
      parser_.filled(count);
      bytes = bytes.subspan(count);
      while (auto frame = parser_.next().value()) take(*frame);
    }
  }
  void take(const wire::Frame& frame) {
    const wire::Message& message = frame.message;
    begun_ += message.has_snapshot_begin();
    ended_ += message.has_snapshot_end();
    if (message.has_sums_wanted()) answer(message.sums_wanted());
    if (!message.has_snapshot_pages()) return;
    ASSERT_TRUE(stream::for_each_page(message.snapshot_pages(), frame.payload, 4096,
                                      [&](Pgno pgno, Bytes page) -> Result<void> {
                                        check(pgno, page);
                                        return {};
                                      }));
  }
  void expect_all_sent() {
    EXPECT_EQ(begun_, 1);
    EXPECT_EQ(ended_, 1);
    EXPECT_EQ(sent_.size(), database_->page_count().value);
    EXPECT_EQ(repeated_, 0);
    EXPECT_EQ(wrong_, 0);
  }
  void answer(const wire::SumsWanted& wanted) {
    std::size_t count = 0;
    for (const auto& run : wanted.runs()) count += stream::sum_count(run.count(), wanted.range());
    wire::Sums sums;
    sums.set_id(wanted.id());
    sums.set_request(wanted.request());
    ASSERT_TRUE(feeder_->answered(sums, Buffer(count * 8)));
  }
  /// It is to be sent once, and as it was committed.
  void check(Pgno pgno, Bytes page) {
    repeated_ += !sent_.insert(pgno).second;
    wrong_ += ltx::page_checksum(pgno, page) != database_->content().page(pgno);
  }

  PosixFileSystem files_;
  TemporaryDirectory data_;
  Primary primary_{files_, data_.file("data")};
  SystemClock clock_;
  stream::ReplicaRecord record_{NodeId{7}, "replica", clock_};
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
  std::shared_ptr<Database> database_;
  std::unique_ptr<stream::Feeder> feeder_;
  wire::FrameParser parser_;
  int begun_ = 0;
  int ended_ = 0;
  std::set<Pgno> sent_;
  int repeated_ = 0;
  int wrong_ = 0;
};

TEST_P(UnloggedWritesMeetASnapshot, WhichEndsAllTheSame) {
  for (int round = 0; round < 100 && ended_ == 0; ++round) {
    fill();
    db_->run("UPDATE u SET x=x+1");
    fill();
    ASSERT_TRUE(*database_->reconcile());
    feeder_->retry_failed();
  }
  expect_all_sent();
}

TEST_P(UnloggedWritesMeetASnapshot, WhichWaitsForAPageThatWasWritten) {
  for (int i = 0; i < 4; ++i) fill();  // page 1 has been sent
  db_->run("UPDATE t SET x=randomblob(4000) WHERE rowid=900");
  for (int round = 0; round < 100; ++round) {
    fill();
    feeder_->retry_failed();
  }
  EXPECT_EQ(ended_, 0);
  EXPECT_LT(sent_.size(), database_->page_count().value);
  EXPECT_FALSE(sent_.empty());
  ASSERT_TRUE(*database_->reconcile());
  feeder_->retry_failed();
  for (int round = 0; round < 100 && ended_ == 0; ++round) fill();
  expect_all_sent();
}

INSTANTIATE_TEST_SUITE_P(Snapshot, UnloggedWritesMeetASnapshot, ::testing::Bool(),
                         [](const auto& by_difference) {
                           return by_difference.param ? "Difference" : "Whole";
                         });

}  // namespace
}  // namespace rillfs::test
