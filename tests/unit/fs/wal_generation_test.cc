// Goal: no commit is missed when SQLite writes over an older generation of a WAL. Method: a WAL file that
// SQLite made is fed to a Database as the writes of two processes, the first of which rolls back; and SQLite
// dies in the middle of a frame whose rest the file holds already. And a program that is not SQLite writes
// over the WAL from its header on: what is committed stays.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <iterator>

#include "fs/sqlite/wal.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs {
namespace {

Buffer content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Buffer(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

}  // namespace

TEST(WalGeneration, HeaderWrittenAgainWithTheSameSaltsBeginsTheChainAnew) {
  test::TemporaryDirectory directory;
  const std::string source = directory.file("source.db");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(source.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)", nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  const Buffer wal = content_of(source + "-wal");
  sqlite3_close(db);
  ASSERT_GT(wal.size(), sqlite::kWalHeaderSize);

  PosixFileSystem files;
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  ASSERT_TRUE(files.open(primary.tree() + "/a.db", OpenMode::kCreate, "test"));
  std::shared_ptr<File> wal_file = *files.open(primary.tree() + "/a.db-wal", OpenMode::kCreate, "test");
  auto database = primary.adopt("a.db");
  ASSERT_TRUE(database);

  auto other = *sqlite::parse_wal_header(wal);
  other.checkpoint_sequence += 7;
  const auto first = sqlite::encode_wal_header(other);
  ASSERT_TRUE(database->write_wal(wal_file, first, 0, Caller::kApplication));
  const Bytes all(wal);
  ASSERT_TRUE(database->write_wal(wal_file, all.first(sqlite::kWalHeaderSize), 0, Caller::kApplication));
  ASSERT_TRUE(database->write_wal(wal_file, all.subspan(sqlite::kWalHeaderSize), sqlite::kWalHeaderSize,
                                  Caller::kApplication));
  EXPECT_GE(database->published().txid.value, 1U);
}

TEST(WalGeneration, WriteFromTheHeaderOnCannotReplaceCommittedFrames) {
  test::TemporaryDirectory directory;
  PosixFileSystem files;
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  test::CapturingVfs vfs(primary);
  test::Sqlite db(vfs.uri("a.db"));
  db.run(
      "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES('committed')");
  const std::string path = primary.tree() + "/a.db-wal";
  std::shared_ptr<File> wal_file = *files.open(path, OpenMode::kReadWrite, "test");
  const Buffer wal = content_of(path);

  for (const std::size_t offset : {0U, 31U}) {
    Buffer other(wal.begin() + static_cast<std::ptrdiff_t>(offset), wal.end());
    auto database = primary.database("a.db");
    EXPECT_TRUE(database->write_wal(wal_file, other, offset, Caller::kApplication)) << "the same again";
    other.back() ^= 1;
    auto written = database->write_wal(wal_file, other, offset, Caller::kApplication);
    ASSERT_FALSE(written) << "from " << offset;
    EXPECT_EQ(written.error().errno_value, EIO);
    EXPECT_EQ(content_of(path), wal);
  }
  db.run("INSERT INTO t VALUES('next')");
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 2);
}

TEST(WalGeneration, FrameThatAnOlderGenerationMakesWholeIsCommitted) {
  test::TemporaryDirectory directory;
  PosixFileSystem files;
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  test::CapturingVfs vfs(primary);
  {
    test::Sqlite db(vfs.uri("a.db"));
    // The long row fills the end of the table's page, which each of the others leaves as it is.
    db.run(
        "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, x);"
        "INSERT INTO t VALUES(1, zeroblob(2500)); PRAGMA wal_checkpoint(RESTART);"
        "INSERT INTO t VALUES(2, 'old'); PRAGMA wal_checkpoint(RESTART);");
    vfs.dies_after = 2048;
    EXPECT_NE(db.try_run("INSERT INTO t VALUES(3, 'new')"), SQLITE_OK);
    ASSERT_TRUE(vfs.dead);
  }
  auto database = primary.database("a.db");
  const std::uint64_t before = database->published().txid.value;
  ASSERT_TRUE(database->capture_left_behind());
  EXPECT_EQ(database->published().txid.value, before + 1);
  ASSERT_TRUE(database->capture_left_behind());
  EXPECT_EQ(database->published().txid.value, before + 1);

  vfs.dead = false;
  vfs.dies_after = 0;
  std::filesystem::remove(primary.tree() + "/a.db-shm");  // as the first opener empties it
  test::Sqlite db(vfs.uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 3);  // what SQLite's recovery finds
  db.run("INSERT INTO t VALUES(4, 'next')");
  EXPECT_EQ(database->published().txid.value, before + 2);
}

}  // namespace rillfs
