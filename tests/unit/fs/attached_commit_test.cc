// Goal: a transaction over attached databases is in all of them or in none, wherever the node is killed, and
// once COMMIT has returned it is in all. Method: SQLite on a captured primary; every call that changes the
// data directory from BEGIN on is the last one once, and so is every call of the start after it.
#include <gtest/gtest.h>

#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

namespace fs = std::filesystem;

struct Tries {
  int none = 0, all = 0;
};

class AttachedCommit : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    FaultyFileSystem sound(files_);
    Primary primary(sound, prepared_.file("data"));
    ASSERT_TRUE(primary.start());
    CapturingVfs vfs(primary);
    for (const char* name : {"a.db", "b.db"})
      Sqlite(vfs.uri(name)).run("CREATE TABLE t(n); INSERT INTO t VALUES(1)");
  }
  void fresh_copy() {
    fs::remove_all(work_.file("data"));
    fs::copy(prepared_.file("data"), work_.file("data"), fs::copy_options::recursive);
  }
  std::string statements(CapturingVfs& vfs) const {
    const std::string mode = GetParam();
    return "ATTACH '" + vfs.uri("b.db") + "' AS b; ATTACH '" + vfs.uri("new.db") +
           "' AS c; PRAGMA main.journal_mode=" + mode + "; PRAGMA b.journal_mode=" + mode +
           "; PRAGMA c.journal_mode=" + mode +
           "; BEGIN; INSERT INTO main.t VALUES(2); INSERT INTO b.t VALUES(2); CREATE TABLE c.t AS SELECT 2 "
           "AS n;"
           "COMMIT";
  }
  /// The transaction, with the `n`-th changing call as the last one. True if COMMIT returned.
  bool run_until(int n, bool* fired) {
    FaultyFileSystem faulty(files_);
    Primary primary(faulty, work_.file("data"));
    EXPECT_TRUE(primary.start());
    CapturingVfs vfs(primary);
    vfs.after = [&] { vfs.dead |= faulty.fired(); };
    faulty.die_at(n);
    Sqlite db(vfs.uri("a.db"));
    const bool committed = db.try_run(statements(vfs)) == SQLITE_OK;
    *fired = faulty.fired();
    vfs.dead = true;
    return committed;
  }
  /// In how many of the three databases the transaction is, after a start.
  int found() {
    const bool recorded = is_recorded();
    FaultyFileSystem sound(files_);
    Primary primary(sound, work_.file("data"));
    auto started = primary.start();
    EXPECT_TRUE(started) << started.error().message;
    int in = 0;
    for (const char* name : {"a.db", "b.db", "new.db"}) {
      const std::string path = primary.tree() + "/" + name;
      if (fs::exists(path)) in += Sqlite(path).text("SELECT 1 FROM t WHERE n=2") == "1" ? 1 : 0;
    }
    EXPECT_FALSE(is_recorded());
    // One that no journal names yet is left by SQLite, too.
    for (const auto& entry : fs::directory_iterator(primary.tree())) {
      const std::string name = entry.path().filename().string();
      EXPECT_FALSE(recorded && sqlite::is_super_journal_name(name)) << name << " is left";
    }
    return in;
  }
  bool is_recorded() const { return fs::exists(work_.file("data/dbs/attached.json")); }

  PosixFileSystem files_;
  TemporaryDirectory prepared_, work_;
};

TEST_P(AttachedCommit, KilledAnywhereIsInAllDatabasesOrInNone) {
  Tries tries;
  bool fired = true;
  for (int n = 0; fired; ++n) {
    fresh_copy();
    const bool committed = run_until(n, &fired);
    const int in = found();
    EXPECT_TRUE(in == 0 || in == 3) << "in " << in << " of 3 when call " << n << " is the last";
    EXPECT_TRUE(!committed || in == 3) << "COMMIT had returned; in " << in << ", call " << n;
    ++(in == 0 ? tries.none : tries.all);
    ASSERT_FALSE(HasFailure());
  }
  EXPECT_GT(tries.none, 10);
  EXPECT_GT(tries.all, 1);
}

/// A hot journal with no pages in it, whose end names a super-journal: the format is SQLite's,
/// writeSuperJournal.
Buffer journal_that_names(const std::string& super_journal) {
  Buffer bytes(sqlite::kJournalHeaderSize, 0);
  const std::uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  std::copy(std::begin(magic), std::end(magic), bytes.begin());
  std::uint32_t sum = 0;
  for (char c : super_journal) sum += static_cast<std::uint32_t>(c);
  std::uint8_t number[4];
  auto append = [&](std::uint32_t value) {
    store_be(number, value);
    bytes.insert(bytes.end(), std::begin(number), std::end(number));
  };
  append(1 << 20);  // the page of the locks
  bytes.insert(bytes.end(), super_journal.begin(), super_journal.end());
  append(static_cast<std::uint32_t>(super_journal.size()));
  append(sum);
  bytes.insert(bytes.end(), std::begin(magic), std::end(magic));
  return bytes;
}

// An application that died while it made two databases left such a thing, which could not be got rid of.
TEST_P(AttachedCommit, OfFilesThatAreNoDatabasesYetIsDoneAsOnADisk) {
  fresh_copy();
  FaultyFileSystem sound(files_);
  Primary primary(sound, work_.file("data"));
  ASSERT_TRUE(primary.start());
  const std::string super_journal = "a.db-mj0123456789";
  ASSERT_TRUE(sound.open(primary.tree() + "/" + super_journal, OpenMode::kCreate, "test"));
  for (const char* name : {"one.db", "two.db"}) {
    const std::string path = primary.tree() + "/" + name;
    ASSERT_TRUE(sound.open(path, OpenMode::kCreate, "test"));
    auto database = primary.adopt(name);
    ASSERT_TRUE(database);
    std::shared_ptr<File> journal = *sound.open(path + "-journal", OpenMode::kCreate, "test");
    ASSERT_TRUE(database->write_journal(journal, journal_that_names(super_journal), 0));
    ASSERT_TRUE(database->write(Buffer(1024, 0xAB), 0, Caller::kApplication));
    ASSERT_TRUE(database->is_part_of(super_journal));
  }
  auto done = primary.databases().commit_attached(
      super_journal, [&] { return sound.remove(primary.tree() + "/" + super_journal, "test"); });
  ASSERT_TRUE(done) << done.error().message;
  for (const char* name : {"one.db", "two.db"})
    EXPECT_EQ(read_all(primary.tree() + "/" + name), Buffer(1024, 0xAB)) << name;
  EXPECT_FALSE(is_recorded());
}

class AttachedRecovery : public AttachedCommit {};

TEST_P(AttachedRecovery, KilledAgainIsInAllDatabasesOrInNone) {
  constexpr int kStep = 17;  // all of them over the many `n`
  bool fired = true;
  int recoveries = 0;
  for (int n = 0; fired; ++n) {
    fresh_copy();
    run_until(n, &fired);
    if (!is_recorded()) continue;
    fs::remove_all(work_.file("killed"));
    fs::copy(work_.file("data"), work_.file("killed"), fs::copy_options::recursive);
    for (int m = n % kStep;; m += kStep) {
      {
        FaultyFileSystem faulty(files_);
        Primary primary(faulty, work_.file("data"));
        faulty.die_at(m);
        (void)primary.start();
        if (!faulty.fired()) break;
      }
      ++recoveries;
      const int in = found();
      ASSERT_TRUE(in == 0 || in == 3) << "in " << in << ", call " << n << " and in recovery " << m;
      fs::remove_all(work_.file("data"));
      fs::copy(work_.file("killed"), work_.file("data"), fs::copy_options::recursive);
    }
  }
  EXPECT_GT(recoveries, 20);
}

TEST_P(AttachedCommit, ThatFailsLeavesNothingAndTheNextOneSucceeds) {
  fresh_copy();
  FaultyFileSystem faulty(files_);
  Primary primary(faulty, work_.file("data"));
  ASSERT_TRUE(primary.start());
  CapturingVfs vfs(primary);
  Sqlite db(vfs.uri("a.db"));
  db.run("ATTACH '" + vfs.uri("b.db") + "' AS b");
  const auto position = [&](const char* name) { return primary.database(name)->published(); };
  const Position before = position("a.db");
  db.run("BEGIN; INSERT INTO main.t VALUES(2); INSERT INTO b.t VALUES(2)");
  faulty.fail_nth(1, ENOSPC, "log: append");  // the second database's
  EXPECT_NE(db.try_run("COMMIT"), SQLITE_OK);
  EXPECT_TRUE(faulty.fired());
  db.try_run("ROLLBACK");
  EXPECT_EQ(position("a.db"), before);
  EXPECT_EQ(db.number("SELECT count(*) FROM main.t"), 1);
  EXPECT_EQ(db.number("SELECT count(*) FROM b.t"), 1);
  db.run("BEGIN; INSERT INTO main.t VALUES(3); INSERT INTO b.t VALUES(3); COMMIT");
  EXPECT_EQ(position("a.db").txid, before.txid.next());
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_P(AttachedCommit, WhoseSyncFailsIsInNoneOfThemAfterTheNextStart) {
  for (int nth = 0;; ++nth) {
    SCOPED_TRACE(nth);
    fresh_copy();
    {
      FaultyFileSystem faulty(files_);
      Primary primary(faulty, work_.file("data"));
      ASSERT_TRUE(primary.start());
      CapturingVfs vfs(primary);
      Sqlite db(vfs.uri("a.db"));
      faulty.fail_nth(nth, EIO, "log: sync");
      const bool committed = db.try_run(statements(vfs)) == SQLITE_OK;
      if (!faulty.fired()) {
        EXPECT_GE(nth, 3);
        return;
      }
      EXPECT_FALSE(committed);
      vfs.dead = true;
    }
    EXPECT_EQ(found(), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, AttachedRecovery, ::testing::Values("DELETE"),
                         [](const auto& mode) { return std::string(mode.param); });
INSTANTIATE_TEST_SUITE_P(Modes, AttachedCommit, ::testing::Values("DELETE", "TRUNCATE", "PERSIST"),
                         [](const auto& mode) { return std::string(mode.param); });

}  // namespace
}  // namespace rillfs::test
