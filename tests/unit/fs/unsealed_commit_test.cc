// Goal: a commit whose frames SQLite forgot to seal is captured like any other.
//
// SQLite 3.40 (fixed later) leaves salts and checksums of a commit's frames zero when the transaction has
// spilled its cache, written a spilled page again, and gone back to a savepoint before it: readers see the
// commit through the wal-index, but the checksums in the file do not lead there. Method: SQLite does just
// that on a captured database; each commit must be a change set when COMMIT returns, and survive a kill.
#include <gtest/gtest.h>

#include "unit/fs/captured_sqlite.h"

namespace rillfs {
namespace {

class UnsealedCommit : public testing::Test {
 protected:
  void SetUp() override {
    start();
    test::Sqlite db(vfs_->uri("a.db"));
    db.run(
        "PRAGMA page_size=1024; PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200)"
        "INSERT INTO t SELECT i, zeroblob(900) FROM n;");
  }
  void start() {
    vfs_.reset();
    primary_ = std::make_unique<test::Primary>(files_, directory_.file("data"));
    ASSERT_TRUE(primary_->start());
    vfs_ = std::make_unique<test::CapturingVfs>(*primary_);
  }
  std::uint64_t txid() { return primary_->database("a.db")->published().txid.value; }

  /// Spills 150 new pages, writes those from `rewritten` on again, and takes all of it back. (Pages that are
  /// not new would be written once more by the going back.)
  static void spill_and_undo(test::Sqlite& db, int rewritten) {
    db.run("PRAGMA cache_size=10; BEGIN IMMEDIATE; SAVEPOINT s");
    db.run(
        "WITH RECURSIVE n(i) AS (SELECT 1001 UNION ALL SELECT i+1 FROM n WHERE i<1150)"
        "INSERT INTO t SELECT i, zeroblob(900) FROM n");
    db.run("UPDATE t SET x=randomblob(900) WHERE id BETWEEN 1000+" + std::to_string(rewritten) + " AND 1150");
    db.run("ROLLBACK TO s");
  }

  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
  std::unique_ptr<test::Primary> primary_;
  std::unique_ptr<test::CapturingVfs> vfs_;
};

TEST_F(UnsealedCommit, IsAChangeSetWhenCommitReturns) {
  test::Sqlite db(vfs_->uri("a.db"));
  const std::uint64_t before = txid();
  spill_and_undo(db, 100);
  db.run("UPDATE t SET x='kept' WHERE id=7; COMMIT");
  EXPECT_EQ(txid(), before + 1);
  db.run("UPDATE t SET x='after' WHERE id=8");
  EXPECT_EQ(txid(), before + 2);
}

TEST_F(UnsealedCommit, OfManyFramesIsAChangeSetWhenCommitReturns) {
  test::Sqlite db(vfs_->uri("a.db"));
  const std::uint64_t before = txid();
  spill_and_undo(db, 100);
  db.run("UPDATE t SET x='kept' WHERE id BETWEEN 50 AND 90; COMMIT");
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(UnsealedCommit, ThatReachesTheRewrittenFramesIsSealedFromThereOn) {
  test::Sqlite db(vfs_->uri("a.db"));
  const std::uint64_t before = txid();
  spill_and_undo(db, 30);
  db.run("UPDATE t SET x='kept' WHERE id BETWEEN 50 AND 150; COMMIT");
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(UnsealedCommit, RolledBackIsNone) {
  test::Sqlite db(vfs_->uri("a.db"));
  const std::uint64_t before = txid();
  spill_and_undo(db, 100);
  db.run("UPDATE t SET x='lost' WHERE id BETWEEN 1 AND 40; ROLLBACK");
  EXPECT_EQ(txid(), before);
  db.run("UPDATE t SET x='kept' WHERE id=3");
  EXPECT_EQ(txid(), before + 1);
}

// Its frames continue what the file has before them, which is nothing.
TEST_F(UnsealedCommit, IsFollowedByOneThatIsSealedFromItsFirstFrameOn) {
  test::Sqlite db(vfs_->uri("a.db"));
  spill_and_undo(db, 100);
  db.run("UPDATE t SET x='kept' WHERE id=7; COMMIT");
  const std::uint64_t before = txid();
  db.run("BEGIN");
  for (int i = 0; i < 2; ++i) db.run("UPDATE t SET x=randomblob(900) WHERE id BETWEEN 50 AND 150");
  db.run("COMMIT");
  EXPECT_EQ(txid(), before + 1);
  db.run("UPDATE t SET x='after' WHERE id=8");
  EXPECT_EQ(txid(), before + 2);
}

TEST_F(UnsealedCommit, SurvivesAKill) {
  {
    test::Sqlite db(vfs_->uri("a.db"));
    spill_and_undo(db, 100);
    db.run("UPDATE t SET x='kept' WHERE id=7; COMMIT");
    vfs_->dead = true;
  }
  start();
  test::Sqlite db(vfs_->uri("a.db"));
  EXPECT_EQ(db.text("SELECT x FROM t WHERE id=7"), "kept");
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_F(UnsealedCommit, IsThereForProcessesThatComeWhenAllOthersHaveDied) {
  const auto count_kept = [&] {
    std::filesystem::remove(primary_->tree() + "/a.db-shm");  // as the first opener empties it
    test::Sqlite db(vfs_->uri("a.db"));
    const std::int64_t kept = db.number("SELECT count(*) FROM t WHERE x LIKE 'kept%'");
    vfs_->dead = true;
    return kept;
  };
  {
    test::Sqlite db(vfs_->uri("a.db"));
    spill_and_undo(db, 100);
    db.run("UPDATE t SET x='kept' WHERE id=7; COMMIT");
    db.run("UPDATE t SET x='kept too' WHERE id=8");
    vfs_->dead = true;
  }
  vfs_->dead = false;
  EXPECT_EQ(count_kept(), 0);  // what a disk would give them
  std::shared_ptr<File> wal = *files_.open(primary_->tree() + "/a.db-wal", OpenMode::kReadWrite, "test");
  auto mended = primary_->database("a.db")->mend_wal(*wal);
  ASSERT_TRUE(mended);
  EXPECT_TRUE(*mended);
  EXPECT_FALSE(*primary_->database("a.db")->mend_wal(*wal));
  vfs_->dead = false;
  EXPECT_EQ(count_kept(), 2);
  vfs_->dead = false;
  const std::uint64_t before = txid();
  test::Sqlite db(vfs_->uri("a.db"));
  db.run("UPDATE t SET x='on' WHERE id=9");
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(UnsealedCommit, PagesSpilledBeyondItsEndAreNotMissedWhenTheWalGoes) {
  {
    test::Sqlite db(vfs_->uri("a.db"));
    spill_and_undo(db, 100);
    db.run("UPDATE t SET x='kept' WHERE id BETWEEN 50 AND 90; COMMIT");
  }
  ASSERT_NE(access((primary_->tree() + "/a.db-wal").c_str(), F_OK), 0);
  EXPECT_FALSE(primary_->database("a.db")->has_unlogged_writes());
}

}  // namespace
}  // namespace rillfs
