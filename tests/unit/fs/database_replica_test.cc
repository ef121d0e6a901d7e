// Goal: taking in what a primary sends holds up nobody, and a replica's log that met no room goes on by
// itself. Method: a captured primary's change sets and snapshot go into a second node's database, whose files
// fail or wait.
#include <future>

#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class ReplicaTakesIn : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    db_->run("INSERT INTO t VALUES(0, randomblob(1000000))");
    std::filesystem::create_directories(data_.file("replica"));
    std::filesystem::copy(
        data_.file("primary"), data_.file("replica"),
        std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
    replica_.environment().primary = false;
    ASSERT_TRUE(replica_.start());
    for (int i = 1; i <= 3; ++i) db_->run("INSERT INTO t VALUES(" + std::to_string(i) + ", 'later')");
  }
  std::shared_ptr<Database> source() { return primary_.database("app.db"); }
  std::shared_ptr<Database> database() { return replica_.database("app.db"); }
  /// The next change set, from the stream.
  Result<Position> receive() {
    RILL_ASSIGN(auto cursor, primary_.databases().follow(source()->id(), database()->published()));
    RILL_ASSIGN(auto info, cursor->next());
    Buffer image(info->image_size);
    for (std::size_t done = 0; done < image.size();) {
      RILL_ASSIGN(std::size_t n, cursor->read(MutableBytes(image).subspan(done)));
      done += n;
    }
    return database()->receive(*info, {image, ""});
  }

  TemporaryDirectory data_;
  PosixFileSystem posix_;
  FaultyFileSystem files_{posix_};
  Primary primary_{posix_, data_.file("primary")};
  Primary replica_{files_, data_.file("replica")};
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
};

TEST_F(ReplicaTakesIn, ASnapshotWhileRequestsGoOn) {
  bool tried = false;
  files_.before_next("log: append", [&] {
    tried = true;
    auto request = std::async(std::launch::async, [&] {
      Buffer page(4096);
      EXPECT_TRUE(database()->read(page, 0));
      EXPECT_EQ(database()->details().position, database()->published());
    });
    EXPECT_EQ(request.wait_for(std::chrono::seconds(10)), std::future_status::ready)
        << "a request waits until the snapshot is in the log";
  });
  auto taken = database()->receive_snapshot(primary_.tree() + "/app.db", source()->content());
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_TRUE(tried);
  EXPECT_EQ(*taken, source()->published());
  EXPECT_EQ(database()->content().sums(), source()->content().sums());
}

TEST_F(ReplicaTakesIn, ASnapshotOfADatabaseThatIsDroppedMeanwhileIsGivenUp) {
  files_.before_next("log: append", [&] { database()->dropped(); });
  auto kept = database();
  EXPECT_FALSE(kept->receive_snapshot(primary_.tree() + "/app.db", source()->content()));
}

TEST_F(ReplicaTakesIn, WhateverCallFailsASnapshotIsInTheLogOrTheOldContentIs) {
  for (int nth = 0;; ++nth) {
    const Position before = database()->published();
    files_.fail_nth(nth, ENOSPC);
    auto taken = database()->receive_snapshot(primary_.tree() + "/app.db", source()->content());
    const bool fired = files_.fired();
    files_.stop_failing();
    EXPECT_EQ(database()->published(), taken ? source()->published() : before) << nth;
    if (!fired || HasFailure() || (!taken && taken.error().code == ErrorCode::kClosed)) break;
  }
}

TEST_F(ReplicaTakesIn, ChangeSetsAgainOnceThereIsRoomForASync) {
  ASSERT_TRUE(receive());
  files_.fail_nth(0, ENOSPC, "log: sync");
  auto made = [&] {
    auto hook = database()->make_durable();
    return hook;
  };
  files_.before_next("log: mend", [&] { files_.fail_nth(0, ENOSPC, "log: mend"); });
  EXPECT_EQ(made().error().code, ErrorCode::kNoSpace);
  EXPECT_FALSE(database()->details().failure.empty());
  files_.fail_nth(0, ENOSPC, "log: mend");
  auto received = receive();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::kNoSpace) << "which is tried again";
  ASSERT_TRUE(receive());
  EXPECT_TRUE(database()->details().failure.empty());
  ASSERT_TRUE(made());
  ASSERT_TRUE(receive());
  EXPECT_EQ(database()->published(), source()->published());
}

TEST_F(ReplicaTakesIn, NothingMoreAfterAnIoError) {
  ASSERT_TRUE(receive());
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_FALSE(database()->make_durable());
  auto received = receive();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::kClosed);
}

}  // namespace
}  // namespace rillfs::test
