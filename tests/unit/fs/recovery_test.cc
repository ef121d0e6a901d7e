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
  for (int n = 0; n < 2000; n += n < 60 ? 1 : 5) {
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
