// Goal: in every rollback-journal mode a COMMIT is one change set, a ROLLBACK none, and the backing file
// never holds what is not committed: not at any operation, not after a kill, not when the disk is full.
// Method: real SQLite on a captured primary; after each of its operations the file is compared with the
// committed page checksums, or the world ends.
#include <memory>
#include <vector>

#include "fs/sqlite/database_header.h"
#include "replication/ltx/checksum.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/full_disk.h"

namespace rillfs::test {
namespace {

constexpr const char* kName = "app.db";
const std::string kInsertMany =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60)"
    "INSERT INTO t(b) SELECT randomblob(700) FROM n;";

class DatabaseJournal : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { start(); }
  /// A fresh process on the same data.
  void start() {
    vfs_.reset();
    primary_.reset();
    primary_ = std::make_unique<Primary>(disk_, data_.file("data"));
    auto started = primary_->start();
    ASSERT_TRUE(started) << started.error().message;
    vfs_ = std::make_unique<CapturingVfs>(*primary_);
  }
  std::unique_ptr<Sqlite> open(int page_size = 1024, const std::string& synchronous = "FULL") {
    auto db = std::make_unique<Sqlite>(vfs_->uri(kName));
    db->try_run("PRAGMA page_size=" + std::to_string(page_size));
    db->try_run("PRAGMA journal_mode=" + GetParam());
    db->try_run("PRAGMA synchronous=" + synchronous);
    db->try_run("PRAGMA cache_size=4");  // spills
    return db;
  }
  std::unique_ptr<Sqlite> open_with_table(int page_size = 1024) {
    auto db = open(page_size);
    db->run("CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
    db->run(kInsertMany);
    return db;
  }
  std::uint64_t txid() {
    auto database = primary_->database(kName);
    return database ? database->published().txid.value : 0;
  }
  std::string path() const { return data_.file("data/tree/app.db"); }

  /// What differs between the backing file and the committed content; "" if nothing does. SQLite cuts the
  /// file only after a commit that made it smaller: until then it may have `size_max` bytes.
  std::string uncommitted(std::uint64_t size_max = 0) {
    auto database = primary_->database(kName);
    if (!database) return "";
    const Content content = database->content();
    const Buffer file = read_all(path());
    const std::size_t page_size = content.page_size();
    const std::uint64_t size = page_size * content.page_count().value;
    if (file.size() < size || file.size() > std::max(size, size_max))
      return std::to_string(file.size()) + " bytes instead of " + std::to_string(size);
    for (Pgno pgno{1}; pgno <= content.page_count(); pgno = pgno.next()) {
      const Bytes page = Bytes(file).subspan((pgno.value - 1) * page_size, page_size);
      if (ltx::page_checksum(pgno, page) != content.page(pgno)) return "page " + std::to_string(pgno.value);
    }
    return "";
  }

  TemporaryDirectory data_;
  PosixFileSystem posix_;
  FullDisk disk_{posix_};
  std::unique_ptr<Primary> primary_;
  std::unique_ptr<CapturingVfs> vfs_;
};

TEST_P(DatabaseJournal, WhatADeadApplicationLeftIsRolledBackAsNoTransaction) {
  open_with_table();
  for (const char* change : {"UPDATE t SET b=randomblob(700)", "DELETE FROM t WHERE id > 20",
                             "INSERT INTO t(b) SELECT randomblob(700) FROM t"}) {
    const std::uint64_t before = txid();
    {
      auto db = open();
      db->run("BEGIN IMMEDIATE");
      db->run(change);
      vfs_->dead = true;  // the application, not the node
    }
    vfs_->dead = false;
    EXPECT_EQ(open()->text("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(txid(), before) << change;
    EXPECT_EQ(uncommitted(), "") << change;
  }
}

TEST_P(DatabaseJournal, APageOneThatIsNoDatabaseIsCommittedAsOnADisk) {
  open_with_table();
  const std::uint64_t before = txid();
  auto database = primary_->database(kName);
  std::shared_ptr<File> journal = *disk_.open(path() + "-journal", OpenMode::kCreate, "test");
  Buffer header(sqlite::kJournalHeaderSize, 0);
  const std::uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  std::copy(std::begin(magic), std::end(magic), header.begin());
  header[11] = 1;  // one page in it
  ASSERT_TRUE(database->write_journal(journal, header, 0));
  ASSERT_TRUE(database->write(Buffer(1024, 0xAB), 0, Caller::kApplication));
  ASSERT_TRUE(database->remove_journal([&] { return disk_.remove(path() + "-journal", "test"); }));
  EXPECT_EQ(txid(), before + 1);
  EXPECT_EQ(read_all(path())[0], 0xAB);
  EXPECT_EQ(uncommitted(), "");
}

// A killed application's new database could not be got rid of, for EIO.
TEST_P(DatabaseJournal, OfAFileThatIsNoDatabaseYetCanBeRemovedAsOnADisk) {
  std::shared_ptr<File> file = *disk_.open(path(), OpenMode::kCreate, "test");
  auto database = primary_->adopt(kName);
  ASSERT_TRUE(database);
  std::shared_ptr<File> journal = *disk_.open(path() + "-journal", OpenMode::kCreate, "test");
  Buffer header(sqlite::kJournalHeaderSize, 0);
  const std::uint8_t magic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  std::copy(std::begin(magic), std::end(magic), header.begin());
  ASSERT_TRUE(database->write_journal(journal, header, 0));
  ASSERT_TRUE(database->write(Buffer(1024, 0xAB), 0, Caller::kApplication));
  auto removed = database->remove_journal([&] { return disk_.remove(path() + "-journal", "test"); });
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_EQ(read_all(path()), Buffer(1024, 0xAB));
  EXPECT_EQ(txid(), 0U);
  ASSERT_TRUE(database->resize(0, Caller::kApplication));
  auto db = open_with_table();
  EXPECT_EQ(db->text("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(uncommitted(), "");
}

TEST_P(DatabaseJournal, EachCommitIsOneChangeSet) {
  for (int page_size : {512, 4096, 65536}) {
    SCOPED_TRACE(page_size);
    auto db = open(page_size);
    const std::uint64_t before = txid();
    const std::vector<std::string> transactions = {
        "CREATE TABLE t(id INTEGER PRIMARY KEY, b)",
        kInsertMany,
        "UPDATE t SET b=randomblob(900) WHERE id%7=0",
        "BEGIN; DELETE FROM t WHERE id<20; INSERT INTO t(b) VALUES(zeroblob(200000)); COMMIT",
        "BEGIN EXCLUSIVE; CREATE INDEX i ON t(b); COMMIT",
        "VACUUM",
        "PRAGMA user_version=7",
        "DROP TABLE t",
        "VACUUM"};
    for (std::size_t i = 0; i < transactions.size(); ++i) {
      db->run(transactions[i]);
      ASSERT_EQ(txid(), before + i + 1) << transactions[i];
      ASSERT_EQ(uncommitted(), "") << transactions[i];
    }
    EXPECT_FALSE(primary_->database(kName)->has_unlogged_writes());
    db.reset();
    for (const char* suffix : {"", "-journal"}) std::filesystem::remove(path() + suffix);
    primary_->databases().drop(kRootInode, kName);
  }
}

TEST_P(DatabaseJournal, ARollbackIsNone) {
  auto db = open_with_table();
  const std::uint64_t before = txid();
  const std::string count = db->text("SELECT count(*)||':'||sum(length(b)) FROM t");
  for (const char* work : {"UPDATE t SET b=randomblob(900)", "DELETE FROM t WHERE id>5", "DROP TABLE t",
                           "INSERT INTO t(b) VALUES(zeroblob(300000))"}) {
    db->run(std::string("BEGIN; ") + work + "; ROLLBACK");
    EXPECT_EQ(txid(), before) << work;
    EXPECT_EQ(uncommitted(), "") << work;
  }
  db->run("BEGIN; SAVEPOINT s; UPDATE t SET b=randomblob(900); ROLLBACK TO s; COMMIT");
  EXPECT_LE(txid(), before + 1) << "at most the change counter";
  EXPECT_EQ(db->text("SELECT count(*)||':'||sum(length(b)) FROM t"), count);
  EXPECT_EQ(db->text("PRAGMA integrity_check"), "ok");
}

TEST_P(DatabaseJournal, ClosingInTheMiddleOfATransactionIsNone) {
  auto db = open_with_table();
  const std::uint64_t before = txid();
  db->run("BEGIN; UPDATE t SET b=randomblob(900)");
  db.reset();
  EXPECT_EQ(txid(), before);
  EXPECT_EQ(uncommitted(), "");
  EXPECT_EQ(open()->text("PRAGMA integrity_check"), "ok");
}

TEST_P(DatabaseJournal, TheFileNeverHoldsUncommittedBytes) {
  for (const auto& [page_size, synchronous] : {std::pair{1024, "OFF"}, {1024, "FULL"}, {512, "FULL"}}) {
    SCOPED_TRACE(synchronous);
    auto db = open(page_size, synchronous);
    int operations = 0;
    int staged = 0;
    std::string first;
    std::uint64_t size_before = 0;
    vfs_->after = [&] {
      ++operations;
      auto database = primary_->database(kName);
      if (database && *database->size() != std::filesystem::file_size(path())) ++staged;
      if (first.empty()) first = uncommitted(size_before);
      size_before = std::filesystem::file_size(path());
    };
    db->run("DROP TABLE IF EXISTS t; CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
    db->run(kInsertMany + "UPDATE t SET b=randomblob(800)");
    db->run("BEGIN; DELETE FROM t WHERE id%2; INSERT INTO t(b) VALUES(zeroblob(90000)); ROLLBACK");
    db->run("BEGIN; SAVEPOINT a; UPDATE t SET b=randomblob(700); ROLLBACK TO a;" + kInsertMany + "COMMIT");
    db->run("DELETE FROM t WHERE id>10; VACUUM");
    vfs_->after = nullptr;
    EXPECT_EQ(first, "");
    EXPECT_GT(operations, 300);
    EXPECT_GT(staged, 20) << "the caches must spill for this to say anything";
  }
}

TEST_P(DatabaseJournal, AnotherConnectionSeesNothingBeforeTheCommit) {
  auto db = open_with_table();
  auto reader = open();
  const std::string before = reader->text("SELECT count(*) FROM t");
  // Little enough to stay in the cache: SQLite lets nobody read once it has spilled.
  db->run("BEGIN; INSERT INTO t(b) VALUES(1)");
  EXPECT_EQ(reader->text("SELECT count(*) FROM t"), before);
  db->run("COMMIT");
  EXPECT_EQ(reader->number("SELECT count(*) FROM t"), std::stoi(before) + 1);
}

TEST_P(DatabaseJournal, ExclusiveLockingModeCommitsTheSameWay) {
  auto db = open_with_table();
  db->run("PRAGMA locking_mode=EXCLUSIVE");
  std::uint64_t before = txid();
  for (int i = 0; i < 4; ++i) {
    db->run("UPDATE t SET b=randomblob(900) WHERE id%3=" + std::to_string(i % 3));
    ASSERT_EQ(txid(), ++before);
    ASSERT_EQ(uncommitted(), "");
    db->run("BEGIN; UPDATE t SET b=randomblob(900); ROLLBACK");
    ASSERT_EQ(txid(), before);
    ASSERT_EQ(uncommitted(), "");
  }
}

TEST_P(DatabaseJournal, ChangingToAnyOtherModeAndBackLosesNoCommit) {
  auto db = open_with_table();
  std::uint64_t before = txid();
  for (const char* mode : {"DELETE", "PERSIST", "TRUNCATE", "WAL", "PERSIST", "WAL", "TRUNCATE", "DELETE"}) {
    SCOPED_TRACE(mode);
    const bool was_wal = db->text("PRAGMA journal_mode") == "wal";
    EXPECT_STRCASEEQ(db->text(std::string("PRAGMA journal_mode=") + mode).c_str(), mode);
    const bool is_wal = std::string(mode) == "WAL";
    before += was_wal != is_wal ? 1 : 0;  // bytes 18 and 19 of the header
    EXPECT_EQ(txid(), before);
    EXPECT_EQ(primary_->database(kName)->wal_mode(), is_wal);
    db->run("UPDATE t SET b=randomblob(300) WHERE id=3");
    EXPECT_EQ(txid(), ++before);
    if (!is_wal) {
      EXPECT_EQ(uncommitted(), "");
    }
  }
  EXPECT_FALSE(primary_->database(kName)->has_unlogged_writes());
}

// --- kill -9

/// What transaction `i` does; the newest `n` says how far a database has come.
std::string transaction(int i) {
  const std::string n = std::to_string(i);
  std::string sql = "BEGIN; INSERT INTO t(n, b) SELECT " + n + ", randomblob(900) FROM d;";
  if (i % 2 == 0) sql += "DELETE FROM t WHERE n=" + std::to_string(i - 1) + ";";
  return sql + "UPDATE t SET b=randomblob(950) WHERE n=" + n + " AND id%3=0; COMMIT";
}

TEST_P(DatabaseJournal, KilledAfterAnyOperationEveryAcknowledgedCommitIsThere) {
  constexpr int kTransactions = 2;
  for (const char* synchronous : {"OFF", "FULL"}) {
    bool finished = false;
    for (int last = 0; !finished; ++last) {
      SCOPED_TRACE(std::string(synchronous) + ", killed after operation " + std::to_string(last));
      std::filesystem::remove_all(data_.file("data"));
      start();
      int acknowledged = 0;
      {
        auto db = open(1024, synchronous);
        db->run(
            "BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY, n, b); CREATE TABLE d(x);"
            "INSERT INTO d VALUES(1),(2),(3),(4),(5); COMMIT");
        int operations = 0;
        vfs_->after = [&] { vfs_->dead = operations++ >= last; };
        for (int i = 1; i <= kTransactions && !vfs_->dead; ++i)
          if (db->try_run(transaction(i)) == SQLITE_OK) acknowledged = i;
        finished = !vfs_->dead;
        vfs_->dead = true;
      }
      start();
      ASSERT_EQ(uncommitted(), "");
      EXPECT_FALSE(primary_->database(kName)->has_unlogged_writes());
      auto db = open(1024, synchronous);
      const std::int64_t newest = db->number("SELECT coalesce(max(n), 0) FROM t");
      EXPECT_GE(newest, acknowledged);
      EXPECT_LE(newest, acknowledged + 1);
      EXPECT_EQ(db->number("SELECT count(*) FROM t WHERE n=" + std::to_string(newest)), newest == 0 ? 0 : 5)
          << "half a transaction";
      EXPECT_EQ(db->text("PRAGMA integrity_check"), "ok");
      const std::uint64_t before = txid();
      db->run(transaction(kTransactions + 1));
      EXPECT_EQ(txid(), before + 1);
      if (HasFailure()) return;
    }
  }
}

TEST_P(DatabaseJournal, AWriterKilledWhileOthersLiveIsRolledBackByTheNextOne) {
  const std::string sum = "SELECT count(*)||':'||total(length(b)) FROM t";
  std::string before;
  {
    auto db = open_with_table();
    before = db->text(sum);
  }
  const std::uint64_t committed = txid();
  for (int last = 0;; last += 3) {
    SCOPED_TRACE(last);
    bool died = false;
    {
      auto db = open();
      int operations = 0;
      vfs_->after = [&] { vfs_->dead = operations++ >= last; };
      db->try_run("BEGIN; UPDATE t SET b=randomblob(900); INSERT INTO t(b) VALUES(zeroblob(20000))");
      died = vfs_->dead;
      vfs_->dead = true;
    }
    vfs_->after = nullptr;
    vfs_->dead = false;
    ASSERT_EQ(uncommitted(), "");
    EXPECT_EQ(open()->text(sum), before);
    EXPECT_EQ(txid(), committed);
    ASSERT_EQ(uncommitted(), "");
    if (HasFailure() || !died) return;
  }
}

// --- a full disk

TEST_P(DatabaseJournal, OnAFullDiskTransactionsAreRefusedAndRolledBackAndLaterOnesGoOn) {
  int refused = 0;
  for (int room = 0;; room += 3) {
    SCOPED_TRACE("room for " + std::to_string(room) + " more writes");
    std::filesystem::remove_all(data_.file("data"));
    start();
    auto db = open_with_table();
    const std::string sum = "SELECT count(*)||':'||total(length(b)) FROM t";
    const std::string before = db->text(sum);
    const std::uint64_t committed = txid();
    disk_.fill_after(room);
    const int code = db->try_run(
        "BEGIN; UPDATE t SET b=randomblob(900); INSERT INTO t(b) VALUES(zeroblob(20000)); COMMIT");
    if (code == SQLITE_OK) {
      disk_.free();
      EXPECT_EQ(txid(), committed + 1);
      break;
    }
    ++refused;
    EXPECT_EQ(code & 0xff, SQLITE_FULL) << sqlite3_errmsg(db->get());
    db->try_run("ROLLBACK");
    ASSERT_EQ(txid(), committed);
    ASSERT_EQ(uncommitted(), "");
    EXPECT_EQ(db->text(sum), before) << "a full disk can be read";
    EXPECT_EQ(open()->text(sum), before) << "also by those who come";
    disk_.free();
    EXPECT_EQ(primary_->database(kName)->details().failure, "");
    EXPECT_EQ(db->text(sum), before);
    db->run("UPDATE t SET b='room again' WHERE id=1");
    EXPECT_EQ(txid(), committed + 1);
    EXPECT_EQ(uncommitted(), "");
    EXPECT_EQ(db->text("PRAGMA integrity_check"), "ok");
    if (HasFailure()) break;
  }
  EXPECT_GT(refused, 5);
}

INSTANTIATE_TEST_SUITE_P(Mode, DatabaseJournal, testing::Values("DELETE", "TRUNCATE", "PERSIST"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace rillfs::test
