// Goal: content that arrived without a transaction becomes exactly one change set, or none when it is what is
// known, and is never taken over half-copied. Method: files and WALs that real SQLite made elsewhere are put
// under a captured primary.
#include <fcntl.h>

#include "unit/fs/captured_sqlite.h"

namespace rillfs::test {
namespace {

class Reconcile : public testing::Test {
 protected:
  void SetUp() override { start(); }
  void start(bool as_primary = true) {
    primary_.reset();
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    primary_->environment().primary = as_primary;
    auto started = primary_->start();
    ASSERT_TRUE(started) << started.error().message;
  }
  std::string path() const { return data_.file("data/tree/app.db"); }
  std::string origin() const { return elsewhere_.file("origin.db"); }
  std::shared_ptr<Database> database() { return primary_->adopt("app.db"); }
  std::uint64_t txid() { return database()->published().txid.value; }
  /// As an application that copies: plain writes, in pieces.
  void copy(Bytes bytes, std::size_t piece = 3000) {
    if (!std::filesystem::exists(path())) write_all(path(), {});
    auto to = database();
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      ASSERT_TRUE(to->write(bytes.subspan(at, std::min(piece, bytes.size() - at)), at, Caller::kApplication));
  }
  void expect_content_is(const std::string& file, std::uint32_t page_size) {
    const Buffer bytes = read_all(file);
    auto known = database();
    ASSERT_EQ(known->page_size(), page_size);
    ASSERT_EQ(known->page_count().value, bytes.size() / page_size);
    Buffer page(page_size);
    for (Pgno pgno{1}; pgno <= known->page_count(); pgno = pgno.next()) {
      auto read = known->read_committed_page(pgno, page);
      ASSERT_TRUE(read) << read.error().message;
      const Bytes wanted = Bytes(bytes).subspan((pgno.value - 1) * page_size, page_size);
      EXPECT_TRUE(std::equal(page.begin(), page.end(), wanted.begin())) << pgno.value;
    }
  }
  static void make(Sqlite& db, int page_size, const std::string& mode) {
    db.run("PRAGMA page_size=" + std::to_string(page_size));
    db.run("PRAGMA journal_mode=" + mode);
    db.run("CREATE TABLE t(n, b)");
    db.run(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<40)"
        "INSERT INTO t SELECT i, randomblob(900) FROM n");
  }

  PosixFileSystem files_;
  TemporaryDirectory data_;
  TemporaryDirectory elsewhere_;
  std::unique_ptr<Primary> primary_;
};

TEST_F(Reconcile, ACopyIsOneChangeSetWhateverItsPageSize) {
  for (std::uint32_t page_size : kAllPageSizes) {
    SCOPED_TRACE(page_size);
    std::filesystem::remove(origin());
    {
      Sqlite db(origin());
      make(db, static_cast<int>(page_size), "DELETE");
    }
    const std::uint64_t before = std::filesystem::exists(path()) ? txid() : 0;
    if (before != 0) {
      ASSERT_TRUE(database()->resize(0, Caller::kApplication));
    }
    copy(read_all(origin()));
    EXPECT_TRUE(database()->has_unlogged_writes());
    EXPECT_EQ(txid(), before) << "not before it is taken over";
    EXPECT_TRUE(*database()->reconcile());
    EXPECT_FALSE(database()->has_unlogged_writes());
    EXPECT_EQ(txid(), before + 1);
    expect_content_is(origin(), page_size);
    if (HasFailure()) return;
  }
}

TEST_F(Reconcile, TheSameContentAgainIsNoChangeSet) {
  {
    Sqlite db(origin());
    make(db, 4096, "DELETE");
  }
  copy(read_all(origin()));
  EXPECT_TRUE(*database()->reconcile());
  copy(read_all(origin()));
  EXPECT_TRUE(database()->has_unlogged_writes());
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_EQ(txid(), 1U);
  EXPECT_FALSE(database()->has_unlogged_writes());
  EXPECT_TRUE(*database()->reconcile()) << "nothing to do";
}

TEST_F(Reconcile, AHalfCopiedFileIsNotTakenOverAtAnyLength) {
  {
    Sqlite db(origin());
    make(db, 1024, "DELETE");
  }
  const Buffer whole = read_all(origin());
  write_all(path(), {});
  auto to = database();
  for (std::size_t at = 0; at < whole.size(); at += 512) {
    ASSERT_TRUE(to->write(Bytes(whole).subspan(at, 512), at, Caller::kApplication));
    const bool complete = at + 512 == whole.size();
    EXPECT_EQ(*to->reconcile(), complete) << at;
    EXPECT_EQ(to->replicated(), complete) << at;
    EXPECT_EQ(to->has_unlogged_writes(), !complete);
  }
  EXPECT_EQ(txid(), 1U);
}

TEST_F(Reconcile, WhatIsNoDatabaseIsLeftAlone) {
  write_all(path(), {});
  copy(Buffer(8192, 'x'));
  EXPECT_FALSE(*database()->reconcile());
  EXPECT_FALSE(database()->replicated());
}

TEST_F(Reconcile, AnEmptyFileIsNoDatabaseButAnEmptiedDatabaseIsAChange) {
  write_all(path(), {});
  database()->content_arrived(nullptr);
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_FALSE(database()->replicated());
  {
    Sqlite db(origin());
    make(db, 1024, "DELETE");
  }
  copy(read_all(origin()));
  EXPECT_TRUE(*database()->reconcile());
  ASSERT_TRUE(database()->resize(0, Caller::kApplication));
  EXPECT_TRUE(database()->has_unlogged_writes());
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_EQ(txid(), 2U);
  EXPECT_EQ(database()->page_count(), Pgno{0});
}

TEST_F(Reconcile, AWalThatCameWithTheFileCountsUpToItsLastCommit) {
  Sqlite db(origin());
  make(db, 1024, "WAL");
  db.run("PRAGMA wal_checkpoint(PASSIVE)");
  db.run("PRAGMA wal_autocheckpoint=0; UPDATE t SET b=zeroblob(900) WHERE n<20; DELETE FROM t WHERE n>35");
  // And frames of a transaction that was not committed.
  db.run("PRAGMA cache_size=2; BEGIN; UPDATE t SET b='lost'; INSERT INTO t SELECT * FROM t");
  for (const char* suffix : {"", "-wal"}) std::filesystem::copy_file(origin() + suffix, path() + suffix);
  std::shared_ptr<File> wal = *files_.open(path() + "-wal", OpenMode::kReadWrite, "test");
  database()->content_arrived(wal);
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_EQ(txid(), 1U);
  db.run("ROLLBACK");
  const std::string exported = elsewhere_.file("exported.db");
  db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  expect_content_is(origin(), 1024);
}

TEST_F(Reconcile, WritesWithoutAJournalAreOneChangeSet) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  make(db, 1024, "DELETE");
  std::uint64_t before = txid();
  for (const char* mode : {"MEMORY", "OFF"}) {
    SCOPED_TRACE(mode);
    db.run(std::string("PRAGMA journal_mode=") + mode);
    db.run("UPDATE t SET b=randomblob(800) WHERE n<9");
    db.run("INSERT INTO t VALUES(100, zeroblob(5000))");
    EXPECT_EQ(txid(), before);
    EXPECT_TRUE(database()->has_unlogged_writes());
    EXPECT_TRUE(*database()->reconcile());
    EXPECT_EQ(txid(), ++before);
    expect_content_is(path(), 1024);
  }
}

TEST_F(Reconcile, AJournaledTransactionThatFollowsTakesOverWhatCameBeforeAsAChangeSetOfItsOwn) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  make(db, 1024, "DELETE");
  const std::uint64_t before = txid();
  db.run("PRAGMA journal_mode=MEMORY; UPDATE t SET b='unlogged' WHERE n=1");
  db.run("PRAGMA journal_mode=DELETE; UPDATE t SET b='logged' WHERE n=2");
  EXPECT_EQ(txid(), before + 2);
  EXPECT_FALSE(database()->has_unlogged_writes());
  expect_content_is(path(), 1024);
}

TEST_F(Reconcile, NothingIsTakenOverWhileAJournalIsHot) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  make(db, 1024, "DELETE");
  db.run("PRAGMA cache_size=2; BEGIN; UPDATE t SET b=randomblob(900)");
  const std::uint64_t before = txid();
  EXPECT_FALSE(*database()->reconcile());
  EXPECT_EQ(txid(), before);
  db.run("COMMIT");
  EXPECT_EQ(txid(), before + 1);
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(Reconcile, PagesThatWereWrittenAreNotSentMeanwhile) {
  {
    Sqlite db(origin());
    make(db, 1024, "DELETE");
  }
  copy(read_all(origin()));
  ASSERT_TRUE(*database()->reconcile());
  ASSERT_TRUE(database()->write(Buffer(1024, 7), 1024, Caller::kApplication));
  Buffer page(1024);
  EXPECT_TRUE(*database()->read_committed_page(Pgno{1}, page));  // is what was committed
  auto read = database()->read_committed_page(Pgno{2}, page);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kBusy);
  EXPECT_TRUE(*database()->reconcile());
  EXPECT_TRUE(*database()->read_committed_page(Pgno{2}, page));
}

TEST_F(Reconcile, AfterAKillWhatArrivedIsThereAndNotReplayedOver) {
  {
    CapturingVfs vfs(*primary_);
    Sqlite db(vfs.uri("app.db"));
    make(db, 1024, "DELETE");
    db.run("UPDATE t SET b='logged'");
    db.run("PRAGMA journal_mode=OFF; UPDATE t SET b='arrived' WHERE n<30");
  }
  const Position before = database()->published();
  start();
  EXPECT_EQ(database()->published().txid, before.txid.next());
  EXPECT_FALSE(database()->has_unlogged_writes());
  EXPECT_EQ(Sqlite(path()).number("SELECT count(*) FROM t WHERE b='arrived'"), 29);
  start();
  EXPECT_EQ(database()->published().txid, before.txid.next());
}

class NotTakenOver : public Reconcile {
 protected:
  /// A database is known, and another one has been copied over it, `bytes` of it at most, when the node dies.
  void copy_and_die(std::size_t bytes = SIZE_MAX) {
    {
      Sqlite db(origin());
      make(db, 4096, "DELETE");
    }
    copy(read_all(origin()));
    ASSERT_TRUE(*database()->reconcile());
    before_ = database()->published();
    Sqlite(origin()).run("INSERT INTO t SELECT n + 100, randomblob(5000) FROM t");
    const Buffer changed = read_all(origin());
    copy(Bytes(changed).first(std::min(bytes, changed.size())));
    ASSERT_TRUE(std::filesystem::exists(database()->directory() + "/unlogged"));
  }
  std::vector<std::string> parked() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(data_.file("data/parked")))
      names.push_back(entry.path());
    return names;
  }
  bool is_marked() { return std::filesystem::exists(database()->directory() + "/unlogged"); }
  Position before_;
};

TEST_F(NotTakenOver, IsABranchOfTheLogOfANodeThatComesBackAsAReplica) {
  copy_and_die();
  for (int i = 0; i < 2; ++i) {
    start(false);
    EXPECT_EQ(database()->published().txid, before_.txid.next());
    EXPECT_EQ(database()->applied_position(), database()->published());
    expect_content_is(origin(), 4096);
    EXPECT_FALSE(is_marked());
    EXPECT_TRUE(parked().empty()) << "that is for the primary to say";
  }
}

TEST_F(NotTakenOver, AndNoDatabaseIsKeptAsItIsAndTheLogIsBelievedAgain) {
  copy_and_die(3 * 4096);
  write_all(path() + "-journal", read_all(origin()));  // whatever lies there
  const Buffer there = read_all(path());
  for (int i = 0; i < 2; ++i) {
    start(false);
    EXPECT_EQ(database()->published(), before_);
    EXPECT_FALSE(is_marked());
    ASSERT_EQ(parked().size(), 1U);
    EXPECT_NE(parked()[0].find("not-taken-over"), std::string::npos);
    EXPECT_EQ(read_all(parked()[0] + "/database"), there);
    EXPECT_TRUE(std::filesystem::exists(parked()[0] + "/database-journal"));
  }
}

}  // namespace
}  // namespace rillfs::test
