// Goal: want of room that is told late, at a sync of the log or when some of a commit is in the file already,
// costs nothing that was acknowledged, and is over when there is room, without a restart. Method: real SQLite
// on a captured primary whose files fail once, at each such call.
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class NoRoom : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    start();
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    for (int i = 1; i <= 20; ++i) db_->run("INSERT INTO t VALUES(" + std::to_string(i) + ", zeroblob(3000))");
    start();  // from now on its file is one that fails
  }
  /// Again, on the same data.
  void start() {
    db_.reset();
    vfs_.reset();
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    auto started = primary_->start();
    ASSERT_TRUE(started) << started.error().message;
    vfs_ = std::make_unique<CapturingVfs>(*primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("PRAGMA journal_mode=" + GetParam());
    db_->run("PRAGMA synchronous=FULL");
  }
  std::string failure() { return primary_->database("app.db")->details().failure; }
  void expect_works(int rows) {
    db_->run("INSERT INTO t VALUES(" + std::to_string(rows + 1) + ", 'there is room')");
    EXPECT_EQ(failure(), "");
    EXPECT_EQ(db_->number("SELECT count(*) FROM t"), rows + 1);
    EXPECT_EQ(db_->text("PRAGMA integrity_check"), "ok");
    auto database = primary_->database("app.db");
    Buffer page(database->page_size());
    for (Pgno pgno{1}; pgno <= database->page_count(); pgno = pgno.next())
      EXPECT_TRUE(database->read_committed_page(pgno, page)) << pgno.value;
    for (int i = 0; i < 2; ++i) {  // as after a kill -9, twice
      start();
      EXPECT_EQ(db_->number("SELECT count(*) FROM t"), rows + 1);
      EXPECT_EQ(db_->text("PRAGMA integrity_check"), "ok");
    }
  }

  TemporaryDirectory data_;
  PosixFileSystem posix_;
  FaultyFileSystem files_{posix_};
  std::unique_ptr<Primary> primary_;
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
};

TEST_P(NoRoom, AtASyncOfTheLogRefusesTheCommitAndIsOverWithTheNext) {
  for (int errno_value : {ENOSPC, EDQUOT}) {
    files_.fail_nth(0, errno_value, "log: sync");
    files_.before_next("log: mend", [&] { files_.fail_nth(0, errno_value, "log: mend"); });
    EXPECT_NE(db_->try_run("INSERT INTO t VALUES(100, 'refused')"), SQLITE_OK);
    EXPECT_NE(failure(), "");
  }
  expect_works(20);
}

TEST_P(NoRoom, AtASyncOfTheLogThatIsThereAMomentLaterIsNotNoticed) {
  files_.fail_nth(0, ENOSPC, "log: sync");
  db_->run("INSERT INTO t VALUES(21, 'mended')");
  EXPECT_TRUE(files_.fired());
  expect_works(21);
}

TEST_P(NoRoom, AtASyncThatFailsOtherwiseNeedsARestart) {
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_NE(db_->try_run("INSERT INTO t VALUES(100, 'refused')"), SQLITE_OK);
  EXPECT_NE(db_->try_run("INSERT INTO t VALUES(101, 'refused')"), SQLITE_OK);
  start();
  expect_works(20);
}

TEST_P(NoRoom, WhenHalfOfACommitIsInTheFileKeepsTheRestUntilThereIsSome) {
  for (int nth = 0;; ++nth) {
    const auto before = primary_->database("app.db")->published();
    files_.fail_nth(nth, ENOSPC, "commit: copy staged pages");
    const int code = db_->try_run("UPDATE t SET b = randomblob(3000)");
    const bool fired = files_.fired();
    files_.stop_failing();
    EXPECT_EQ(code == SQLITE_OK, !fired) << nth;
    // SQLite rolls back what it was refused: then nothing has happened.
    EXPECT_EQ(db_->number("SELECT count(*) FROM t WHERE b = zeroblob(3000)"), fired ? 20 : 0) << nth;
    EXPECT_EQ(db_->text("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(failure(), "");
    EXPECT_GE(primary_->database("app.db")->published().txid, before.txid);
    if (!fired || HasFailure()) break;
  }
  expect_works(20);
}

TEST_P(NoRoom, WhenHalfOfACommitIsInTheFileAndTheNodeDiesIsMadeWholeByTheLog) {
  files_.fail_nth(0, ENOSPC, "commit: copy staged pages");
  EXPECT_NE(db_->try_run("UPDATE t SET b = randomblob(3000)"), SQLITE_OK);
  ASSERT_TRUE(files_.fired());
  start();
  expect_works(20);
}

INSTANTIATE_TEST_SUITE_P(Journal, NoRoom, testing::Values("DELETE", "TRUNCATE", "PERSIST"),
                         [](const auto& info) { return info.param; });

// The next sync of the file would succeed and say nothing of the pages that are lost.
TEST(NoRoomAtTheBase, IsNoReasonToBelieveTheNextSync) {
  TemporaryDirectory data;
  PosixFileSystem posix;
  FaultyFileSystem files(posix);
  {
    Primary first(files, data.file("data"));
    ASSERT_TRUE(first.start());
    CapturingVfs vfs(first);
    Sqlite(vfs.uri("app.db")).run("CREATE TABLE t(n)");
  }
  Primary primary(files, data.file("data"));
  ASSERT_TRUE(primary.start());
  CapturingVfs vfs(primary);
  Sqlite(vfs.uri("app.db")).run("INSERT INTO t VALUES(1)");
  auto database = primary.database("app.db");
  const Position base = database->details().base;
  files.fail_nth(0, ENOSPC, "base: sync database");
  EXPECT_FALSE(database->advance_base(true));
  (void)database->advance_base(true);
  EXPECT_EQ(database->details().base, base) << "the log must be replayed over the file";
  EXPECT_NE(database->details().failure, "");
}

}  // namespace
}  // namespace rillfs::test
