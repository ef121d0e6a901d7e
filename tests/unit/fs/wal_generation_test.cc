// Goal: no commit is missed when SQLite writes over an older generation of a WAL. Method: a WAL file that
// SQLite made is fed to a Database as the writes of two processes, the first of which rolls back; and SQLite
// dies in the middle of a frame whose rest the file holds already. And a program that is not SQLite writes
// over the WAL from its header on: what is committed stays.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>

#include "fs/sqlite/wal.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs {
namespace {

/// One transaction of two frames.
Buffer wal_of_one_table(const std::string& path) {
  test::Sqlite db(path);
  db.run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  return test::read_all(path + "-wal");
}

/// A primary on a file system that can fail; writes come from SQLite through a VFS, or from the test itself.
class WalGeneration : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(primary_.start()); }
  std::string path(const std::string& name) const { return primary_.tree() + "/" + name; }
  /// a.db, as it lies there, with a WAL of which nothing has been written.
  void adopt() {
    wal_file_ = *files_.open(path("a.db-wal"), OpenMode::kCreate, "test");
    database_ = primary_.adopt("a.db");
    ASSERT_TRUE(database_);
  }
  void make_empty() {
    ASSERT_TRUE(files_.open(path("a.db"), OpenMode::kCreate, "test"));
    adopt();
  }
  Result<void> write(Bytes bytes, std::uint64_t offset) {
    return database_->write_wal(wal_file_, bytes, offset, Caller::kApplication);
  }
  /// These bytes of `wal`, where they lie in it.
  Result<void> write(const Buffer& wal, std::uint64_t from, std::uint64_t to) {
    return write(Bytes(wal).subspan(from, to - from), from);
  }
  std::uint64_t txid() const { return database_->published().txid.value; }

  test::TemporaryDirectory directory_;
  PosixFileSystem below_;
  test::FaultyFileSystem files_{below_};
  test::Primary primary_{files_, directory_.file("data")};
  std::shared_ptr<File> wal_file_;
  std::shared_ptr<Database> database_;
};

}  // namespace

TEST_F(WalGeneration, HeaderWrittenAgainWithTheSameSaltsBeginsTheChainAnew) {
  const Buffer wal = wal_of_one_table(directory_.file("source.db"));
  ASSERT_GT(wal.size(), sqlite::kWalHeaderSize);
  make_empty();

  auto other = *sqlite::parse_wal_header(wal);
  other.checkpoint_sequence += 7;
  ASSERT_TRUE(write(sqlite::encode_wal_header(other), 0));
  ASSERT_TRUE(write(wal, 0, sqlite::kWalHeaderSize));
  ASSERT_TRUE(write(wal, sqlite::kWalHeaderSize, wal.size()));
  EXPECT_GE(txid(), 1U);
}

TEST_F(WalGeneration, FrameWhoseWriteFailedBelongsToNoTransaction) {
  const Buffer wal = wal_of_one_table(directory_.file("source.db"));
  const std::uint64_t first_page = sqlite::frame_offset(1, 4096) + sqlite::kFrameHeaderSize;
  const std::uint64_t second = sqlite::frame_offset(2, 4096);
  ASSERT_EQ(wal.size(), sqlite::frame_offset(3, 4096));
  make_empty();

  ASSERT_TRUE(write(wal, 0, first_page));
  ASSERT_TRUE(write(wal, second, second + sqlite::kFrameHeaderSize));  // it commits: the first is verified
  files_.fail_nth(0, ENOSPC, "capture: write WAL");
  EXPECT_FALSE(write(wal, first_page, second));
  files_.stop_failing();
  ASSERT_TRUE(write(wal, second + sqlite::kFrameHeaderSize, wal.size()));
  EXPECT_EQ(txid(), 0U) << "the first frame's page is not in the file";
  ASSERT_TRUE(write(wal, first_page, second));
  EXPECT_EQ(txid(), 1U);
}

TEST_F(WalGeneration, HeaderWhoseWriteFailedLeavesTheGenerationThatIsInTheFile) {
  test::Sqlite source(directory_.file("source.db"));
  source.run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x)");
  const std::uint64_t first_end = test::read_all(directory_.file("source.db-wal")).size();
  source.run("INSERT INTO t VALUES(1)");
  const Buffer wal = test::read_all(directory_.file("source.db-wal"));
  std::filesystem::copy_file(directory_.file("source.db"), path("a.db"));
  adopt();
  ASSERT_TRUE(write(wal, 0, sqlite::kWalHeaderSize));
  ASSERT_TRUE(write(wal, sqlite::kWalHeaderSize, first_end));
  const std::uint64_t before = txid();
  // A checkpoint: everything is in the file, so that a writer may start the WAL anew.
  for (std::uint32_t n = 1; sqlite::frame_offset(n, 4096) < first_end; ++n) {
    const Bytes frame = Bytes(wal).subspan(sqlite::frame_offset(n, 4096), sqlite::frame_size(4096));
    const std::uint64_t page = sqlite::parse_frame_header(frame).pgno.value - 1;
    ASSERT_TRUE(database_->write(frame.subspan(sqlite::kFrameHeaderSize), page * 4096, Caller::kApplication));
  }

  auto next = *sqlite::parse_wal_header(wal);
  next.salts.first += 1;
  files_.fail_nth(0, EIO, "capture: write WAL");
  EXPECT_FALSE(write(sqlite::encode_wal_header(next), 0));
  files_.stop_failing();
  // Who comes next finds the old generation in the file, and goes on with it.
  ASSERT_TRUE(write(wal, first_end, wal.size()));
  EXPECT_EQ(txid(), before + 1);
}

TEST_F(WalGeneration, WriteFromTheHeaderOnCannotReplaceCommittedFrames) {
  test::CapturingVfs vfs(primary_);
  test::Sqlite db(vfs.uri("a.db"));
  db.run(
      "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES('committed')");
  const Buffer wal = test::read_all(path("a.db-wal"));
  adopt();

  for (const std::size_t offset : {0U, 31U}) {
    Buffer other(wal.begin() + static_cast<std::ptrdiff_t>(offset), wal.end());
    EXPECT_TRUE(write(other, offset)) << "the same again";
    other.back() ^= 1;
    auto written = write(other, offset);
    ASSERT_FALSE(written) << "from " << offset;
    EXPECT_EQ(written.error().errno_value, EIO);
    EXPECT_EQ(test::read_all(path("a.db-wal")), wal);
  }
  db.run("INSERT INTO t VALUES('next')");
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 2);
}

TEST_F(WalGeneration, FrameThatAnOlderGenerationMakesWholeIsCommitted) {
  test::CapturingVfs vfs(primary_);
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
  adopt();
  const std::uint64_t before = txid();
  ASSERT_TRUE(database_->capture_left_behind());
  EXPECT_EQ(txid(), before + 1);
  ASSERT_TRUE(database_->capture_left_behind());
  EXPECT_EQ(txid(), before + 1);

  vfs.dead = false;
  vfs.dies_after = 0;
  std::filesystem::remove(path("a.db-shm"));  // as the first opener empties it
  test::Sqlite db(vfs.uri("a.db"));
  EXPECT_EQ(db.number("SELECT count(*) FROM t"), 3);  // what SQLite's recovery finds
  db.run("INSERT INTO t VALUES(4, 'next')");
  EXPECT_EQ(txid(), before + 2);
}

}  // namespace rillfs
