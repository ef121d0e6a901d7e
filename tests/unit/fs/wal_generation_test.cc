// Goal: no commit is missed when SQLite writes over an older generation of a WAL. Method: a WAL file that
// SQLite made is fed to a Database as the writes of two processes, the first of which rolls back; and SQLite
// dies in the middle of a frame whose rest the file holds already. And a program that is not SQLite writes
// over the WAL from its header on: what is committed stays.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "fs/sqlite/wal.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs {
namespace {

Buffer content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Buffer(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

/// One transaction of two frames.
Buffer wal_of_one_table(const std::string& path) {
  test::Sqlite db(path);
  db.run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  return content_of(path + "-wal");
}

}  // namespace

TEST(WalGeneration, HeaderWrittenAgainWithTheSameSaltsBeginsTheChainAnew) {
  test::TemporaryDirectory directory;
  const Buffer wal = wal_of_one_table(directory.file("source.db"));
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

TEST(WalGeneration, FrameWhoseWriteFailedBelongsToNoTransaction) {
  test::TemporaryDirectory directory;
  const Buffer wal = wal_of_one_table(directory.file("source.db"));
  const Bytes all(wal);
  const std::uint64_t second = sqlite::frame_offset(2, 4096);
  ASSERT_EQ(wal.size(), sqlite::frame_offset(3, 4096));

  PosixFileSystem below;
  test::FaultyFileSystem files(below);
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  ASSERT_TRUE(files.open(primary.tree() + "/a.db", OpenMode::kCreate, "test"));
  std::shared_ptr<File> wal_file = *files.open(primary.tree() + "/a.db-wal", OpenMode::kCreate, "test");
  auto database = primary.adopt("a.db");
  ASSERT_TRUE(database);
  auto write = [&](std::uint64_t from, std::uint64_t to) {
    return database->write_wal(wal_file, all.subspan(from, to - from), from, Caller::kApplication);
  };
  const std::uint64_t first_page = sqlite::frame_offset(1, 4096) + sqlite::kFrameHeaderSize;
  ASSERT_TRUE(write(0, first_page));
  ASSERT_TRUE(write(second, second + sqlite::kFrameHeaderSize));  // it commits: what is before is verified
  files.fail_nth(0, ENOSPC, "capture: write WAL");
  EXPECT_FALSE(write(first_page, second));
  files.stop_failing();
  ASSERT_TRUE(write(second + sqlite::kFrameHeaderSize, wal.size()));
  EXPECT_EQ(database->published().txid.value, 0U) << "the first frame's page is not in the file";
  ASSERT_TRUE(write(first_page, second));
  EXPECT_EQ(database->published().txid.value, 1U);
}

TEST(WalGeneration, HeaderWhoseWriteFailedLeavesTheGenerationThatIsInTheFile) {
  test::TemporaryDirectory directory;
  PosixFileSystem below;
  test::FaultyFileSystem files(below);
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  const std::string path = directory.file("source.db");
  test::Sqlite source(path);
  source.run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  const std::uint64_t first_end = content_of(path + "-wal").size();
  source.run("INSERT INTO t VALUES(1)");
  const Buffer wal = content_of(path + "-wal");
  const Bytes all(wal);
  std::filesystem::copy_file(path, primary.tree() + "/a.db");
  std::shared_ptr<File> wal_file = *files.open(primary.tree() + "/a.db-wal", OpenMode::kCreate, "test");
  auto database = primary.adopt("a.db");
  ASSERT_TRUE(database);
  auto write = [&](Bytes bytes, std::uint64_t offset) {
    return database->write_wal(wal_file, bytes, offset, Caller::kApplication);
  };
  ASSERT_TRUE(write(all.first(sqlite::kWalHeaderSize), 0));
  ASSERT_TRUE(write(all.first(first_end).subspan(sqlite::kWalHeaderSize), sqlite::kWalHeaderSize));
  const std::uint64_t before = database->published().txid.value;
  // A checkpoint: everything is in the file, so that a writer may start the WAL anew.
  for (std::uint32_t n = 1; sqlite::frame_offset(n, 4096) < first_end; ++n) {
    const Bytes frame = all.subspan(sqlite::frame_offset(n, 4096), sqlite::frame_size(4096));
    const std::uint64_t page = sqlite::parse_frame_header(frame).pgno.value - 1;
    ASSERT_TRUE(database->write(frame.subspan(sqlite::kFrameHeaderSize), page * 4096, Caller::kApplication));
  }

  auto next = *sqlite::parse_wal_header(wal);
  next.salts.first += 1;
  const auto header = sqlite::encode_wal_header(next);
  files.fail_nth(0, EIO, "capture: write WAL");
  EXPECT_FALSE(write(header, 0));
  files.stop_failing();
  // Who comes next finds the old generation in the file, and goes on with it.
  ASSERT_TRUE(write(all.subspan(first_end), first_end));
  EXPECT_EQ(database->published().txid.value, before + 1);
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
