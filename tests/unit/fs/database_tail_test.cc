// Goal: no commit is lost, and none is half captured, when the WAL is written behind the daemon's back
// (source "tail"), whenever it looks and whenever it dies. Method: SQLite on a captured database whose WAL is
// written past it; the daemon looks between any two of SQLite's operations. Negative controls: a gate is
// taken away, and a commit is lost.
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "fs/capture/wal_follower.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs {
namespace {

using test::Sqlite;

class DatabaseTail : public testing::Test {
 protected:
  void SetUp() override {
    start();
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x);");
  }
  void start(const std::string& boot = "this boot") {
    vfs_.reset();
    primary_ = std::make_unique<test::Primary>(files_, directory_.file("data"));
    primary_->environment().boot_id = boot;
    ASSERT_TRUE(primary_->start());
    vfs_ = std::make_unique<test::CapturingVfs>(*primary_);
    vfs_->tail = true;
    // As the mount's threads read it.
    primary_->environment().published_index = [this](Database&) -> Environment::PublishedIndex {
      const Buffer shm = test::read_all(primary_->tree() + "/a.db-shm");
      if (shm.size() < sqlite::kIndexHeaderSize) return std::optional<sqlite::WalIndexHeader>();
      return sqlite::parse_wal_index_header(Bytes(shm).first(sqlite::kIndexHeaderSize));
    };
  }
  /// kill -9 of the daemon, and of the application; then the daemon comes back.
  void kill_and_start(const std::string& boot = "this boot") {
    vfs_->dead = true;
    start(boot);
  }
  Database& database() { return *primary_->database("a.db"); }
  std::uint64_t txid() { return database().published().txid.value; }
  void look(Database::Look look = Database::Look::kQuick) { EXPECT_TRUE(database().drain(look)); }

  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
  std::unique_ptr<test::Primary> primary_;
  std::unique_ptr<test::CapturingVfs> vfs_;
};

TEST_F(DatabaseTail, ACommitIsInTheLogOnceItWasLookedFor) {
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=NORMAL; INSERT INTO t VALUES(0, 'first')");
  look();
  const std::uint64_t before = txid();
  for (int i = 1; i <= 5; ++i) db.run("INSERT INTO t(x) VALUES('x')");
  EXPECT_EQ(txid(), before);
  look();
  EXPECT_EQ(txid(), before + 5);
  look();
  EXPECT_EQ(txid(), before + 5);
}

TEST_F(DatabaseTail, ReconcileForgetsTheFramesOfAnOpenTransaction) {
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=FULL; PRAGMA cache_size=2");
  // An older generation leaves commit frames far behind.
  for (int i = 0; i < 60; ++i) db.run("INSERT INTO t(x) VALUES('older')");
  db.run("PRAGMA wal_checkpoint(RESTART); INSERT INTO t(x) VALUES('newer')");
  db.run("BEGIN; CREATE TABLE u(x); INSERT INTO u VALUES(zeroblob(60000))");
  database().content_arrived(nullptr);
  ASSERT_TRUE(database().reconcile());
  db.run("ROLLBACK");
  const std::uint64_t before = txid();
  db.run("INSERT INTO t(x) VALUES('synced')");
  EXPECT_EQ(txid(), before + 1);
  EXPECT_TRUE(database().is_durable(Txid{txid()}));
}

/// A commit that SQLite 3.40 forgets to seal (unsealed_commit_test.cc).
void commit_unsealed(Sqlite& db) {
  db.run(
      "PRAGMA cache_size=10; BEGIN IMMEDIATE; SAVEPOINT s;"
      "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i+1 FROM n WHERE i<1150)"
      "INSERT INTO t SELECT i, zeroblob(900) FROM n;"
      "UPDATE t SET x=randomblob(900) WHERE id BETWEEN 1100 AND 1150;"
      "ROLLBACK TO s; UPDATE t SET x='unsealed' WHERE id=7; COMMIT");
}

void fill(Sqlite& db) {
  db.run(
      "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0;"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)"
      "INSERT INTO t SELECT i, zeroblob(900) FROM n");
}

// With FULL the wal-index is published after the sync, and who had asked before slept until the next write.
TEST_F(DatabaseTail, TheFollowerAsksForTheWalIndexUntilItSaysWhatThereIs) {
  std::atomic<int> asked{0};
  WalFollower follower({.read_index =
                            [&](const auto& followed) {
                              if (++asked < 4) return;  // not published yet
                              const auto index = primary_->environment().published_index(*followed);
                              if (index && *index) EXPECT_TRUE(followed->drain_published(**index));
                            },
                        .reconcile = [](const auto&) {}});
  Sqlite db(vfs_->uri("a.db"));
  fill(db);
  look();
  const std::uint64_t before = txid();
  ASSERT_TRUE(follower.follow(1, primary_->database("a.db"), primary_->tree() + "/a.db-wal"));
  commit_unsealed(db);
  for (int i = 0; i < 10'000 && txid() == before; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(txid(), before + 1);
  EXPECT_GE(asked, 4);
}

TEST_F(DatabaseTail, AfterAKillTheLogIsNotTakenBackToWhatTheWalCanProve) {
  {
    Sqlite db(vfs_->uri("a.db"));
    fill(db);
    commit_unsealed(db);
    ASSERT_TRUE(database().catch_up());
    db.run("UPDATE t SET x='after' WHERE id=8");
    look();
  }
  const Position position = database().published();
  kill_and_start();
  EXPECT_EQ(database().published(), position);
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.text("SELECT x FROM t WHERE id=7"), "unsealed");
  EXPECT_EQ(db.text("SELECT x FROM t WHERE id=8"), "after");
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

// Its frames continue what the file has before them, which is nothing: not what the wal-index said.
TEST_F(DatabaseTail, ACommitThatIsSealedFromItsFirstFrameOnIsFoundBehindAnUnsealedOne) {
  Sqlite db(vfs_->uri("a.db"));
  fill(db);
  commit_unsealed(db);
  ASSERT_TRUE(database().catch_up());
  const std::uint64_t before = txid();
  db.run("BEGIN");
  for (int i = 0; i < 2; ++i) db.run("UPDATE t SET x=randomblob(900) WHERE id BETWEEN 50 AND 150");
  db.run("COMMIT");
  ASSERT_TRUE(database().catch_up());
  EXPECT_EQ(txid(), before + 1);
  db.run("UPDATE t SET x='after' WHERE id=8");
  look();
  EXPECT_EQ(txid(), before + 2);
}

TEST_F(DatabaseTail, ACommitThatIsSyncedIsInTheLogWhenItReturns) {
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=FULL");
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = txid();
    db.run("INSERT INTO t(x) VALUES('x')");
    EXPECT_EQ(txid(), before + 1);
    EXPECT_TRUE(database().is_durable(Txid{txid()}));
  }
}

TEST_F(DatabaseTail, WithoutTheGateAtItsSyncACommitIsNotInTheLog) {
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=FULL");
  const std::uint64_t before = txid();
  vfs_->hide_wal_sync = true;
  db.run("INSERT INTO t(x) VALUES('x')");
  EXPECT_EQ(txid(), before);
}

TEST_F(DatabaseTail, NothingIsLostAcrossRestartsOfTheWalThatNobodyLookedAt) {
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=5");
    for (int i = 0; i < 200; ++i) db.run("INSERT INTO t(x) VALUES(randomblob(200))");
    vfs_->dead = true;
  }
  EXPECT_FALSE(database().has_unlogged_writes());
  EXPECT_GT(txid(), 190U);
  kill_and_start("another boot");  // the WAL does not count
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_GT(db.number("SELECT count(*) FROM t"), 190);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_F(DatabaseTail, WithoutTheGatesAtACheckpointCommitsAreMissed) {
  vfs_->hide_checkpoint = true;
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=5");
  for (int i = 0; i < 200; ++i) db.run("INSERT INTO t(x) VALUES(randomblob(200))");
  look(Database::Look::kThorough);
  EXPECT_LT(txid(), 100U);
}

TEST_F(DatabaseTail, WhoClosesLeavesNoCommitThatIsInTheWalOnly) {
  for (const bool gate : {true, false}) {
    Sqlite other(vfs_->uri("a.db"));  // so that closing is no checkpoint
    other.number("SELECT count(*) FROM t");
    const std::uint64_t before = txid();
    vfs_->hide_flush = !gate;
    Sqlite(vfs_->uri("a.db")).run("PRAGMA synchronous=NORMAL; INSERT INTO t(x) VALUES('x')");
    EXPECT_EQ(txid(), before + (gate ? 1 : 0));
    vfs_->hide_flush = false;
  }
}

TEST_F(DatabaseTail, AWalThatIsRemovedLeavesItsCommitsInTheLog) {
  for (const bool gate : {true, false}) {
    {
      Sqlite db(vfs_->uri("a.db"));
      db.run("PRAGMA synchronous=OFF; INSERT INTO t(x) VALUES('first')");
      look();
      const std::uint64_t before = txid();
      for (int i = 0; i < 5; ++i) db.run("INSERT INTO t(x) VALUES('x')");
      vfs_->hide_wal_end = !gate;
      sqlite3_vfs* vfs = sqlite3_vfs_find("captured");
      EXPECT_EQ(vfs->xDelete(vfs, (primary_->tree() + "/a.db-wal").c_str(), 0), SQLITE_OK);
      EXPECT_EQ(txid(), before + (gate ? 5 : 0));
      vfs_->dead = true;
    }
    kill_and_start("boot " + std::to_string(gate));
  }
}

TEST_F(DatabaseTail, TheLastCloseTakesEverythingAlong) {
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0");
    for (int i = 0; i < 20; ++i) db.run("INSERT INTO t(x) VALUES('x')");
  }
  EXPECT_GE(txid(), 20U);
  EXPECT_FALSE(database().has_unlogged_writes());
}

TEST_F(DatabaseTail, WhatOnlyTheWalHasIsTakenOverAfterAKillOfTheDaemon) {
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=NORMAL");
    for (int i = 0; i < 20; ++i) {
      db.run("INSERT INTO t(x) VALUES('x')");
      if (i == 10) look();
    }
    vfs_->dead = true;
  }
  const std::uint64_t before = txid();
  kill_and_start();
  EXPECT_EQ(txid(), before + 1);  // all of it at once
  kill_and_start();
  EXPECT_EQ(txid(), before + 1);
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 20);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_F(DatabaseTail, AWalOfAnotherBootIsNotBelieved) {
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=NORMAL; INSERT INTO t VALUES(1, 'logged')");
    look();
    db.run("INSERT INTO t VALUES(2, 'not logged')");
    vfs_->dead = true;
  }
  kill_and_start("another boot");
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 1);
}

TEST_F(DatabaseTail, NoHalfOfATransactionIsTakenFromAWalWhoseWriterDied) {
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=NORMAL; PRAGMA cache_size=5; INSERT INTO t VALUES(1, 'whole'); BEGIN");
    for (int i = 0; i < 100; ++i) db.run("INSERT INTO t(x) VALUES(randomblob(900))");
    vfs_->dead = true;
  }
  kill_and_start();
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 1);
}

TEST_F(DatabaseTail, AbandonedFramesThatWereReadDoNotHideWhatIsWrittenOverThem) {
  Sqlite db(vfs_->uri("a.db"));
  db.run("PRAGMA synchronous=OFF; PRAGMA cache_size=5");
  db.run("INSERT INTO t VALUES(1, 'x'); BEGIN");
  for (int i = 0; i < 60; ++i) db.run("INSERT INTO t(x) VALUES(randomblob(900))");
  look();
  const std::uint64_t before = txid();
  db.run("ROLLBACK");
  db.run("INSERT INTO t VALUES(2, 'after')");
  look(Database::Look::kThorough);
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(DatabaseTail, FramesOfAnOpenTransactionWrittenOverInPlaceAreReadAgain) {
  vfs_->after = [&] { look(); };
  const std::uint64_t before = txid();
  {
    Sqlite db(vfs_->uri("a.db"));
    db.run("PRAGMA synchronous=OFF; PRAGMA cache_size=5; BEGIN");
    for (int i = 1; i <= 60; ++i) db.run("INSERT INTO t VALUES(" + std::to_string(i) + ", zeroblob(900))");
    for (int i = 1; i <= 60; ++i) db.run("UPDATE t SET x=randomblob(900) WHERE id=" + std::to_string(i));
    db.run("COMMIT");
    look(Database::Look::kThorough);
    EXPECT_EQ(txid(), before + 1);
    vfs_->after = nullptr;
    vfs_->dead = true;
  }
  kill_and_start("another boot");  // from the log alone
  Sqlite again(vfs_->uri("a.db"));
  EXPECT_EQ(again.number("SELECT count(*) FROM t WHERE x<>zeroblob(900)"), 60);
  EXPECT_EQ(again.text("PRAGMA integrity_check"), "ok");
}

TEST_F(DatabaseTail, ACommitWhoseFramesAreNeverSealedIsTakenOnTheWordOfTheWalIndex) {
  Sqlite db(vfs_->uri("a.db"));
  db.run(
      "PRAGMA synchronous=OFF; PRAGMA wal_autocheckpoint=0;"
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)"
      "INSERT INTO t SELECT i, zeroblob(900) FROM n;");
  look();
  const std::uint64_t before = txid();
  db.run("PRAGMA cache_size=10; BEGIN IMMEDIATE; SAVEPOINT s");
  db.run(
      "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i+1 FROM n WHERE i<1150)"
      "INSERT INTO t SELECT i, zeroblob(900) FROM n");
  db.run("UPDATE t SET x=randomblob(900) WHERE id BETWEEN 1100 AND 1150; ROLLBACK TO s");
  db.run("UPDATE t SET x='kept' WHERE id=7; COMMIT");
  const auto drained = database().drain(Database::Look::kThorough);
  ASSERT_TRUE(drained);
  if (!drained->needs_index) GTEST_SKIP() << "this SQLite seals what it should";
  EXPECT_EQ(txid(), before);
  ASSERT_TRUE(database().catch_up());
  EXPECT_EQ(txid(), before + 1);
  db.run("UPDATE t SET x='after' WHERE id=8");
  look();
  EXPECT_EQ(txid(), before + 2);
  // A checkpoint, too, has it taken before its pages are in the file.
  db.run("BEGIN IMMEDIATE; SAVEPOINT s");
  db.run(
      "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i+1 FROM n WHERE i<1150)"
      "INSERT INTO t SELECT i, zeroblob(900) FROM n");
  db.run("UPDATE t SET x=randomblob(900) WHERE id BETWEEN 1100 AND 1150; ROLLBACK TO s");
  db.run("UPDATE t SET x='kept' WHERE id=9; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
  EXPECT_EQ(txid(), before + 3);
  EXPECT_FALSE(database().has_unlogged_writes());
}

TEST_F(DatabaseTail, AProcessThatIsCutOffFromItsMountCannotCommitAnyMore) {
  if (!ends_writes(files_, directory_.file("data")))
    GTEST_SKIP() << "not on this file system, or not as root";
  auto zombie = std::make_unique<Sqlite>(primary_->tree() + "/a.db");
  zombie->run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF");
  zombie->run("INSERT INTO t VALUES(1, 'while the daemon lived')");
  // As if it had been opened through the mount.
  std::shared_ptr<File> wal = *files_.open(primary_->tree() + "/a.db-wal", OpenMode::kReadWrite, "test");
  ASSERT_TRUE(database().may_be_followed());
  database().begin_tail(wal);
  zombie->run("INSERT INTO t VALUES(2, 'while the daemon was dead')");
  const std::uint64_t before = txid();
  kill_and_start();
  EXPECT_EQ(txid(), before + 1);
  EXPECT_NE(zombie->try_run("INSERT INTO t VALUES(3, 'after it came back')"), SQLITE_OK);
  zombie.reset();
  Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 2);
}

/// What the log alone says after each of its transactions, compared with what was committed.
TEST_F(DatabaseTail, WheneverItLooksTheLogHasWholeTransactionsOnly) {
  for (const unsigned seed : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    vfs_->after = [&] {
      const unsigned what = random() % 8;
      if (what < 4) look(what == 0 ? Database::Look::kThorough : Database::Look::kQuick);
    };
    std::int64_t sum = 0;
    {
      Sqlite db(vfs_->uri("a.db"));
      db.run("PRAGMA synchronous=OFF; PRAGMA cache_size=8; PRAGMA wal_autocheckpoint=40; DELETE FROM t");
      for (int transaction = 0; transaction < 60; ++transaction) {
        db.run("BEGIN");
        for (unsigned n = random() % 30; n > 0; --n)
          db.run("INSERT OR REPLACE INTO t VALUES(" + std::to_string(random() % 200) + ", randomblob(" +
                 std::to_string(random() % 1500) + "))");
        if (random() % 4 == 0) {
          db.run("SAVEPOINT s; UPDATE t SET x=randomblob(700) WHERE id%3=0; ROLLBACK TO s");
        }
        db.run(random() % 4 == 0 ? "ROLLBACK" : "COMMIT");
      }
      sum = db.number("SELECT sum(id * length(x)) FROM t");
      vfs_->after = nullptr;
      ASSERT_TRUE(database().catch_up());
      vfs_->dead = true;
    }
    EXPECT_FALSE(database().has_unlogged_writes());
    kill_and_start("boot " + std::to_string(seed));  // from the log alone
    Sqlite db(vfs_->uri("a.db"));
    EXPECT_EQ(db.number("SELECT sum(id * length(x)) FROM t"), sum);
    EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
  }
}

}  // namespace
}  // namespace rillfs
