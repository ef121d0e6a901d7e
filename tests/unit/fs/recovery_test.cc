// Goal: nothing that was acknowledged is ever lost, nothing half-done ever appears, and the node comes up
// again whatever failed and whenever it was killed. Method: real SQLite on a capturing VFS; every call that
// changes the data directory fails once (the n-th, for every n), the process dies there, and a fresh one with
// a sound file system recovers.
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

/// One table; `counter` says how many transactions have been acknowledged.
struct Outcome {
  std::int64_t acknowledged = 0;
  std::int64_t attempted = 0;
  bool died = false;
};

void configure(Sqlite& db, const std::string& mode) {
  db.try_run("PRAGMA journal_mode=" + mode);
  db.try_run("PRAGMA synchronous=FULL");
  db.try_run("PRAGMA cache_size=5");
  db.try_run("PRAGMA wal_autocheckpoint=8");
}

Outcome run_until_failure(Primary& primary, FaultyFileSystem& faulty, const std::string& mode, int count) {
  Outcome outcome;
  CapturingVfs vfs(primary);
  vfs.after = [&] { vfs.dead = vfs.dead || faulty.fired(); };
  {
    Sqlite db(vfs.uri("app.db"));
    configure(db, mode);
    if (db.try_run("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, b BLOB)") == SQLITE_OK) {
      for (int i = 1; i <= count && !vfs.dead; ++i) {
        outcome.attempted = i;
        const std::string n = std::to_string(i);
        std::string sql = "BEGIN; INSERT INTO t VALUES(" + n + ", randomblob(20000));";
        if (i % 3 == 0) sql += "DELETE FROM t WHERE n=" + std::to_string(i - 2) + ";";
        sql += "COMMIT;";
        if (db.try_run(sql) == SQLITE_OK) outcome.acknowledged = i;
        if (i == 4 && db.try_run("VACUUM") != SQLITE_OK) break;
      }
    }
    outcome.died = vfs.dead;
  }
  return outcome;
}

std::int64_t newest(const std::string& path) {
  Sqlite db(path);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
  if (db.number("SELECT count(*) FROM sqlite_master") == 0) return 0;
  return db.number("SELECT coalesce(max(n),0) FROM t");
}

class CrashEverywhere : public ::testing::TestWithParam<std::string> {};

TEST_P(CrashEverywhere, LosesNothingAcknowledgedAndComesUpAgain) {
  PosixFileSystem files;
  int survived = 0;
  for (int n = 0; n < 2000; n += n < 50 ? 1 : 11) {
    TemporaryDirectory data;
    FaultyFileSystem faulty(files);
    Outcome outcome;
    {
      Primary primary(faulty, data.file("data"));
      ASSERT_TRUE(primary.start());
      primary.environment().base_interval_bytes = 1;  // record a base as often as possible
      faulty.fail_nth(n, EIO);
      outcome = run_until_failure(primary, faulty, GetParam(), 6);
    }
    faulty.stop_failing();
    if (!outcome.died) ++survived;
    SCOPED_TRACE(GetParam() + ", call " + std::to_string(n) + ", acknowledged " +
                 std::to_string(outcome.acknowledged));
    {
      Primary again(faulty, data.file("data"));
      auto started = again.start();
      ASSERT_TRUE(started) << started.error().message;
      auto database = again.database("app.db");
      if (outcome.acknowledged > 0) {
        ASSERT_TRUE(database);
        EXPECT_TRUE(database->replicated());
      }
    }
    const std::int64_t found = newest(data.file("data") + "/tree/app.db");
    EXPECT_GE(found, outcome.acknowledged);
    EXPECT_LE(found, outcome.attempted);
    if (HasFailure()) break;
    if (!outcome.died && survived > 3) break;
  }
  EXPECT_GT(survived, 0);
}

/// What the log says the database is, against what its files are.
void expect_file_is_content(Primary& primary) {
  auto database = primary.database("app.db");
  if (!database || database->published().txid.value == 0) return;
  Buffer page(database->page_size());
  for (Pgno pgno{1}; pgno <= database->page_count(); pgno = pgno.next()) {
    auto read = database->read_committed_page(pgno, page);
    EXPECT_TRUE(read || read.error().code == ErrorCode::kBusy) << read.error().message;
  }
}

TEST_P(CrashEverywhere, NoRoomOnceIsNoReasonToStop) {
  PosixFileSystem files;
  for (int n = 0; n < 400; n += n < 40 ? 1 : 7) {
    SCOPED_TRACE(GetParam() + ", call " + std::to_string(n));
    TemporaryDirectory data;
    FaultyFileSystem faulty(files);
    std::vector<int> acknowledged;
    {
      Primary primary(faulty, data.file("data"));
      ASSERT_TRUE(primary.start());
      primary.environment().base_interval_bytes = 1;
      CapturingVfs vfs(primary);
      bool created = false;
      faulty.fail_nth(n, ENOSPC);
      for (int i = 1; i <= 8; ++i) {
        Sqlite db(vfs.uri("app.db"));
        configure(db, GetParam());
        if (!created &&
            db.try_run("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY, b BLOB)") != SQLITE_OK)
          continue;
        created = true;
        const std::string row = std::to_string(i);
        const int code = db.try_run("BEGIN; INSERT INTO t VALUES(" + row + ", randomblob(20000)); COMMIT;");
        if (code == SQLITE_OK) acknowledged.push_back(i);
        if (i == 5) db.try_run("DELETE FROM t WHERE n<3; VACUUM");
        expect_file_is_content(primary);
      }
      auto database = primary.database("app.db");
      // A failed sync, of the log or of its directory, is never retried, whatever its errno.
      const std::string failure = database ? database->details().failure : "";
      if (failure.find("sync") != std::string::npos || failure.starts_with("log: roll")) continue;
      EXPECT_EQ(failure, "");
      EXPECT_GE(acknowledged.size(), 6U) << "no longer usable";
    }
    const bool fired = faulty.fired();
    faulty.stop_failing();
    {
      Primary again(faulty, data.file("data"));
      auto started = again.start();
      ASSERT_TRUE(started) << started.error().message;
      expect_file_is_content(again);
    }
    Sqlite db(data.file("data/tree/app.db"));
    EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
    std::string expected;
    for (int i : acknowledged) {
      if (i > 2) expected += (expected.empty() ? "" : ",") + std::to_string(i);
    }
    const std::string present = db.text("SELECT group_concat(n) FROM (SELECT n FROM t WHERE n>2 ORDER BY n)");
    // Where the journal's own end fails after the commit, the application may be told less than happened.
    if (GetParam() != "PERSIST" && GetParam() != "TRUNCATE") {
      EXPECT_EQ(present, expected);
    }
    for (int i : acknowledged) {
      const bool there = ("," + present + ",").find("," + std::to_string(i) + ",") != std::string::npos;
      EXPECT_TRUE(there || i <= 2) << i;
    }
    if (HasFailure() || !fired) break;
  }
}

INSTANTIATE_TEST_SUITE_P(Journal, CrashEverywhere, ::testing::Values("WAL", "DELETE", "TRUNCATE", "PERSIST"),
                         [](const auto& info) { return info.param; });

TEST(Recovery, SnapshotThatReplacedALongerBranchIsWhatCountsAfterACrash) {
  PosixFileSystem files;
  TemporaryDirectory data;
  TemporaryDirectory other;
  Content winner;
  {
    Primary primary(files, other.file("data"));
    ASSERT_TRUE(primary.start());
    CapturingVfs vfs(primary);
    Sqlite db(vfs.uri("app.db"));
    db.run("CREATE TABLE t(n)");
    db.run("INSERT INTO t VALUES('winner')");
    winner = primary.database("app.db")->content();
  }
  {
    Primary loser(files, data.file("data"));
    ASSERT_TRUE(loser.start());
    {
      CapturingVfs vfs(loser);
      Sqlite db(vfs.uri("app.db"));
      db.run("CREATE TABLE t(n)");
      for (int i = 0; i < 5; ++i) db.run("INSERT INTO t VALUES('loser')");
    }
    auto database = loser.database("app.db");
    ASSERT_TRUE(database->advance_base(true));
    ASSERT_TRUE(database->receive_snapshot(other.file("data/tree/app.db"), winner));
  }
  Primary again(files, data.file("data"));
  ASSERT_TRUE(again.start());
  EXPECT_EQ(again.database("app.db")->published(), winner.position());
  EXPECT_EQ(again.database("app.db")->content().sums(), winner.sums());
  EXPECT_EQ(Sqlite(data.file("data/tree/app.db")).text("SELECT n FROM t"), "winner");
}

}  // namespace
}  // namespace rillfs::test
