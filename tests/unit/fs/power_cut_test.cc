// Goal: what a power cut must not separate is on disk in the right order. Method: the call that makes the
// first part durable fails; then the second must not happen. tests/powercut cuts the power of whole nodes.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "replication/ltx/checksum.h"
#include "replication/ltx/encoder.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class PowerCut : public testing::Test {
 protected:
  void SetUp() override {
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    ASSERT_TRUE(primary_->start());
  }
  std::string path() const { return data_.file("data/tree/app.db"); }
  /// A clean stop, and another life, in which the database's file is one of `files_`.
  void restart(bool as_primary = true) {
    primary_->close();
    primary_.reset();
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    primary_->environment().primary = as_primary;
    ASSERT_TRUE(primary_->databases().recover());
  }

  PosixFileSystem below_;
  FaultyFileSystem files_{below_};
  TemporaryDirectory data_;
  std::unique_ptr<Primary> primary_;
};

// A replica that had the database would drop it, with everything in it, once the primary has forgotten it.
TEST_F(PowerCut, ADatabaseIsNotPublishedBeforeItsFirstChangeSetIsDurable) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("PRAGMA synchronous=OFF");
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_NE(db.try_run("CREATE TABLE t(x)"), SQLITE_OK);
  EXPECT_TRUE(files_.fired());
  EXPECT_EQ(primary_->database("app.db")->published().txid.value, 0U);
}

// A start that does not find the mark takes the file for what the log says: primary and replica would differ
// at the same position.
TEST_F(PowerCut, WritesWithoutATransactionAreMarkedForCertainBeforeTheyAreMade) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("CREATE TABLE t(x)");
  const Buffer before = read_all(path());
  const Buffer page(4096, 7);
  for (int step = 0; step < 2; ++step) {  // the mark's file, its directory
    SCOPED_TRACE(step);
    files_.fail_nth(step, EIO, "note unlogged write");
    auto written = primary_->database("app.db")->write(page, 4096, Caller::kApplication);
    EXPECT_TRUE(files_.fired());
    EXPECT_FALSE(written);
    EXPECT_EQ(read_all(path()), before);
  }
  files_.stop_failing();
  EXPECT_TRUE(primary_->database("app.db")->write(page, 4096, Caller::kApplication));
  EXPECT_NE(read_all(path()), before);
}

// The mark makes the next start believe the file instead of the log. Commits are durable in the log only.
TEST_F(PowerCut, WhatWasCommittedIsInTheFileForCertainBeforeTheMarkIs) {
  Sqlite(CapturingVfs(*primary_).uri("app.db")).run("CREATE TABLE t(x)");
  restart();
  files_.fail_nth(0, EIO, "database: sync");
  auto database = primary_->database("app.db");
  EXPECT_FALSE(database->write(Buffer(4096, 7), 4096, Caller::kApplication));
  EXPECT_TRUE(files_.fired());
  EXPECT_FALSE(std::filesystem::exists(database->directory() + "/unlogged"));
}

TEST_F(PowerCut, AWalIsOnDiskAsWellBeforeTheMarkIs) {
  Sqlite(CapturingVfs(*primary_).uri("app.db")).run("PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  restart();
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("INSERT INTO t VALUES(1)");
  auto database = primary_->database("app.db");
  files_.fail_nth(1, EIO, "database: sync");  // after the file's
  EXPECT_FALSE(database->write(Buffer(4096, 7), 400 * 4096, Caller::kApplication));
  EXPECT_TRUE(files_.fired());
  EXPECT_FALSE(std::filesystem::exists(database->directory() + "/unlogged"));
}

// The log has only what differed. And a mark that comes back would make the file the truth once more.
TEST_F(PowerCut, TheMarkGoesForCertainAndOnlyAfterTheFileIsOnDisk) {
  for (const char* label : {"database: sync", "reconcile: read"}) {
    SCOPED_TRACE(label);
    const std::string name = std::string(label).substr(0, 4) + ".db";
    Sqlite(CapturingVfs(*primary_).uri(name)).run("CREATE TABLE t(x)");
    restart();
    CapturingVfs vfs(*primary_);
    Sqlite db(vfs.uri(name));
    db.run("PRAGMA journal_mode=MEMORY");
    db.run("INSERT INTO t VALUES(1)");
    auto database = primary_->database(name);
    const std::string mark = database->directory() + "/unlogged";
    ASSERT_TRUE(std::filesystem::exists(mark));
    const bool removal = label == std::string("reconcile: read");
    files_.fail_nth(removal ? 1 : 0, EIO, label);  // of the removal: the directory's sync
    EXPECT_FALSE(database->reconcile());
    EXPECT_TRUE(files_.fired());
    EXPECT_EQ(std::filesystem::exists(mark), !removal);
    EXPECT_TRUE(database->has_unlogged_writes());
    EXPECT_NE(db.try_run("PRAGMA journal_mode=DELETE; INSERT INTO t VALUES(2)"), SQLITE_OK);
  }
}

TEST_F(PowerCut, ADatabasesNameIsOnDiskBeforeItsFirstCommitIs) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  files_.fail_nth(2, EIO, "create database");  // directories, dbs/, the file's own
  EXPECT_NE(db.try_run("CREATE TABLE t(x)"), SQLITE_OK);
  EXPECT_TRUE(files_.fired());
}

// The write-ahead rule: pages that are in the file and not in the log after a power cut are damage.

TEST_F(PowerCut, ACheckpointWaitsForTheLog) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("PRAGMA journal_mode=WAL");
  db.run("PRAGMA synchronous=OFF");  // SQLite itself syncs nothing
  db.run("CREATE TABLE t(x)");
  const Buffer before = read_all(path());
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_NE(db.try_run("PRAGMA wal_checkpoint(PASSIVE)"), SQLITE_OK);
  EXPECT_TRUE(files_.fired());
  EXPECT_EQ(read_all(path()), before);
}

TEST_F(PowerCut, ACleanStopWaitsForTheLog) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("PRAGMA journal_mode=WAL");
  db.run("PRAGMA synchronous=NORMAL");
  db.run("CREATE TABLE t(x)");
  db.run("INSERT INTO t VALUES(1)");
  const Buffer before = read_all(path());
  files_.fail_nth(0, EIO, "log: sync");
  primary_->close();
  EXPECT_TRUE(files_.fired());
  EXPECT_EQ(read_all(path()), before);
}

class PowerCutOfReplica : public PowerCut {
 protected:
  void SetUp() override {
    PowerCut::SetUp();
    Sqlite(CapturingVfs(*primary_).uri("app.db")).run("CREATE TABLE t(x)");
    restart(false);
    database_ = primary_->database("app.db");
  }
  /// A change set with another page 2 comes in.
  Result<Position> take() {
    const Content content = database_->content();
    const std::vector<PageChange> changes{{Pgno{2}, ltx::page_checksum(Pgno{2}, page_)}};
    ltx::Header header;
    header.page_size = content.page_size();
    header.commit = content.page_count();
    const Position here = content.position();
    header.min_txid = header.max_txid = here.txid.next();
    header.timestamp_ms = 1;
    header.pre_apply = here.checksum;
    const Position there{here.epoch, here.txid.next(),
                         content.preview(changes, header.commit, header.page_size).rolling};
    Buffer image;
    BufferSink sink(image);
    ltx::Encoder encoder(sink);
    RILL_TRY(encoder.begin(header));
    RILL_TRY(encoder.page(Pgno{2}, page_));
    RILL_TRY(encoder.finish(there.checksum));
    return database_->receive({here, there, image.size(), 1, 1}, {image, ""});
  }
  /// And is about to be shown; it is not durable.
  void receive() {
    auto received = take();
    ASSERT_TRUE(received) << received.error().message;
    database_->applying(received->txid, read_all(path()).size());
    EXPECT_FALSE(database_->is_durable(received->txid));
  }
  void expect_waiting(Caller caller) {
    const Buffer before = read_all(path());
    files_.fail_nth(0, EIO, "log: sync");
    EXPECT_FALSE(database_->write(page_, 4096, caller));
    EXPECT_TRUE(files_.fired());
    EXPECT_FALSE(database_->resize(4096, caller));
    EXPECT_EQ(read_all(path()), before);
  }

  const Buffer page_ = Buffer(4096, 7);
  std::shared_ptr<Database> database_;
};

TEST_F(PowerCutOfReplica, ItsFileWaitsForTheLog) {
  receive();
  expect_waiting(Caller::kDaemon);
}

TEST_F(PowerCutOfReplica, AnApplicationsCheckpointWaitsForTheLog) {
  database_->set_wal_mode(true);
  receive();
  expect_waiting(Caller::kApplication);
}

// Not about power, but about the same files: an application with permission to write.
TEST_F(PowerCutOfReplica, AnApplicationResizesItsFileAsACheckpointDoesOrNotAtAll) {
  const std::uint64_t size = 8192;
  ASSERT_EQ(read_all(path()).size(), size);
  database_->set_wal_mode(true);
  for (const std::uint64_t wrong : {std::uint64_t{0}, size / 2, size * 2}) {
    auto resized = database_->resize(wrong, Caller::kApplication);
    ASSERT_FALSE(resized);
    EXPECT_EQ(resized.error().errno_value, EROFS);
  }
  EXPECT_TRUE(database_->resize(size, Caller::kApplication));
  database_->applying(Txid{2}, size * 2);
  EXPECT_TRUE(database_->resize(size, Caller::kApplication));
  EXPECT_TRUE(database_->resize(size * 2, Caller::kApplication));
}

TEST_F(PowerCutOfReplica, AFileThatHasLostItsEndIsNotReadAsIfItWereShort) {
  ASSERT_EQ(::truncate(path().c_str(), 4096), 0);
  Buffer into(4096);
  EXPECT_TRUE(database_->read(into, 0));
  EXPECT_FALSE(database_->read(into, 4096));
  EXPECT_TRUE(database_->health().out_of_service);
}

// A snapshot would be refused as well: nothing but a restart helps.
TEST_F(PowerCutOfReplica, ALogThatCouldNotBeSyncedTakesNothingMoreAndSaysWhatToDo) {
  receive();
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_FALSE(database_->make_durable());
  EXPECT_TRUE(files_.fired());
  auto received = take();
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::kClosed);
  auto snapshot = database_->receive_snapshot(path(), database_->content());
  ASSERT_FALSE(snapshot);
  EXPECT_EQ(snapshot.error().code, ErrorCode::kClosed);
  EXPECT_NE(database_->details().failure.find("restart rillfs"), std::string::npos);
}

TEST_F(PowerCutOfReplica, ItsFileWaitsForNoMoreThanItIsToHave) {
  receive();
  ASSERT_TRUE(database_->make_durable());
  const int before = files_.sync_count();
  ASSERT_TRUE(database_->write(page_, 4096, Caller::kDaemon));
  ASSERT_TRUE(database_->resize(8192, Caller::kDaemon));
  EXPECT_EQ(files_.sync_count(), before);
}

}  // namespace
}  // namespace rillfs::test
