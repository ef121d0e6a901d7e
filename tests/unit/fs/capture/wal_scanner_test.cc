// Goal: the scanner finds every transaction however its bytes arrive, and reads no more than it has to.
// Method: WALs made by SQLite, fed piece by piece over a file that counts how often it is read.
#include "fs/capture/wal_scanner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/fs/sqlite_support.h"

namespace rillfs {
namespace {

using test::Sqlite;
using test::TemporaryDirectory;

/// Bytes in memory that count the calls that read them.
class CountingFile final : public File {
 public:
  Result<std::size_t> read_at(MutableBytes into, std::uint64_t offset, Label) override {
    ++reads;
    if (offset >= content.size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(into.size(), content.size() - offset);
    std::memcpy(into.data(), content.data() + offset, n);
    return n;
  }
  Result<void> write_at(Bytes bytes, std::uint64_t offset, Label) override {
    if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
    std::memcpy(content.data() + offset, bytes.data(), bytes.size());
    return {};
  }
  Result<void> truncate(std::uint64_t size, Label) override { return content.resize(size), Result<void>(); }
  Result<std::uint64_t> size(Label) override { return std::uint64_t{content.size()}; }
  Result<void> sync_data(Label) override { return {}; }

  Buffer content;
  int reads = 0;
};

/// A WAL with the schema and `inserts` transactions of one small row each: one frame each.
Buffer wal_with(int inserts) {
  TemporaryDirectory directory;
  Sqlite db(directory.file("a.db"));
  db.run("PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x);");
  for (int i = 0; i < inserts; ++i) db.run("INSERT INTO t VALUES(1)");
  return test::read_all(directory.file("a.db-wal"));
}

class WalScannerTest : public testing::Test {
 protected:
  /// As the mount does it: shown to the scanner first, committed if it completes something, then written.
  int write(const Buffer& wal, std::uint64_t offset, std::uint64_t size) {
    const Bytes bytes = Bytes(wal).subspan(offset, size);
    const WalView view(file_, bytes, offset);
    auto found = scanner_.written(view, offset, size);
    EXPECT_TRUE(found);
    EXPECT_TRUE(view.write_held("test"));
    int transactions = 0;
    const WalView done(file_);
    while (found && *found) {
      scanner_.commit(**found);
      ++transactions;
      found = scanner_.written(done, scanner_.committed_end(), 0);
    }
    return transactions;
  }
  void begin(const Buffer& wal) {
    auto header = sqlite::parse_wal_header(wal);
    ASSERT_TRUE(header);
    scanner_.begin(*header);
    ASSERT_TRUE(file_.write_at(Bytes(wal).first(sqlite::kWalHeaderSize), 0, "test"));
  }

  CountingFile file_;
  WalScanner scanner_;
};

TEST_F(WalScannerTest, FindsEveryTransactionHoweverTheWritesAreCut) {
  const Buffer wal = wal_with(9);
  const auto frames = (wal.size() - sqlite::kWalHeaderSize) / sqlite::frame_size(4096);
  for (const std::uint64_t piece : {7U, 24U, 1000U, 4096U, 4120U, 5000U, 1U << 20}) {
    file_.content.clear();
    begin(wal);
    int transactions = 0;
    for (std::uint64_t at = sqlite::kWalHeaderSize; at < wal.size(); at += piece) {
      transactions += write(wal, at, std::min<std::uint64_t>(piece, wal.size() - at));
    }
    EXPECT_EQ(transactions, 10) << "in pieces of " << piece;  // CREATE TABLE and the inserts
    EXPECT_EQ(scanner_.committed_frames(), frames) << "in pieces of " << piece;
  }
}

TEST_F(WalScannerTest, FindsATransactionWhoseHeaderArrivesAfterItsPage) {
  const Buffer wal = wal_with(1);
  begin(wal);
  const std::uint64_t last = wal.size() - sqlite::frame_size(4096);
  EXPECT_EQ(write(wal, sqlite::kWalHeaderSize, last - sqlite::kWalHeaderSize), 1);
  EXPECT_EQ(write(wal, last + sqlite::kFrameHeaderSize, 4096), 0);
  EXPECT_EQ(write(wal, last, sqlite::kFrameHeaderSize), 1);
}

TEST_F(WalScannerTest, ReadsATransactionThatIsSealedLateOnce) {
  TemporaryDirectory directory;
  Sqlite db(directory.file("a.db"));
  db.run(
      "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
      "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)"
      "SELECT zeroblob(3000) FROM n");
  const Buffer wal = test::read_all(directory.file("a.db-wal"));
  const std::uint64_t frame = sqlite::frame_size(4096);
  const std::uint64_t count = (wal.size() - sqlite::kWalHeaderSize) / frame;
  ASSERT_GT(count, 500U);
  Buffer unsealed = wal;
  for (std::uint64_t n = 3; n <= count; ++n) std::fill_n(&unsealed[sqlite::frame_offset(n, 4096) + 8], 16, 0);
  begin(wal);
  const std::uint64_t second = sqlite::frame_offset(2, 4096);
  EXPECT_EQ(write(wal, sqlite::kWalHeaderSize, 2 * frame), 0);
  EXPECT_EQ(write(wal, second + sqlite::kFrameHeaderSize, 4096), 0);  // over a frame: from here on unsealed
  for (std::uint64_t n = 3; n <= count; ++n)
    EXPECT_EQ(write(unsealed, sqlite::frame_offset(n, 4096), frame), 0);
  int transactions = 0;
  for (std::uint64_t n = 2; n <= count; ++n)
    transactions += write(wal, sqlite::frame_offset(n, 4096), sqlite::kFrameHeaderSize);
  EXPECT_EQ(transactions, 1);
  EXPECT_EQ(scanner_.committed_frames(), count);
  EXPECT_LT(file_.reads, static_cast<int>(3 * count));
}

TEST_F(WalScannerTest, DoesNotReadAFrameBeforeAllOfItHasBeenWritten) {
  const Buffer wal = wal_with(1);
  // What an older generation left: there is something to read, and to find wrong.
  file_.content.assign(wal.size(), 0xAA);
  begin(wal);
  const std::uint64_t last = wal.size() - sqlite::frame_size(4096);
  ASSERT_EQ(write(wal, sqlite::kWalHeaderSize, last - sqlite::kWalHeaderSize), 1);
  file_.reads = 0;
  // As the kernel cuts one frame: its header, and its page at a page boundary of the file.
  EXPECT_EQ(write(wal, last, 24), 0);
  EXPECT_EQ(write(wal, last + 24, 1000), 0);
  EXPECT_EQ(file_.reads, 0);
  EXPECT_EQ(write(wal, last + 1024, wal.size() - last - 1024), 1);
}

TEST_F(WalScannerTest, FramesThatWereCutOffBelongToNoTransaction) {
  const Buffer wal = wal_with(0);  // one transaction of two frames
  const std::uint64_t second = sqlite::frame_offset(2, 4096);
  ASSERT_EQ(wal.size(), sqlite::frame_offset(3, 4096));
  begin(wal);
  EXPECT_EQ(write(wal, sqlite::kWalHeaderSize, second - sqlite::kWalHeaderSize), 0);
  EXPECT_EQ(write(wal, second, sqlite::kFrameHeaderSize), 0);  // it commits: the first frame is verified
  ASSERT_EQ(scanner_.read_frames(), 1U);
  ASSERT_TRUE(file_.truncate(second - 8, "test"));
  scanner_.cut(second - 8);
  EXPECT_EQ(write(wal, second, wal.size() - second), 0);
  // Written again it is found.
  EXPECT_EQ(write(wal, sqlite::kWalHeaderSize, wal.size() - sqlite::kWalHeaderSize), 1);
}

TEST(WalView, LaysTheHeldWriteOverTheEndOfWhatIsAskedFor) {
  CountingFile file;
  file.content = {1, 2, 3, 4};
  const Buffer held{7, 8, 9};
  const auto read = [&](std::uint64_t held_at, std::uint64_t offset, std::size_t size) {
    Buffer into(size, 0xFF);
    auto got = WalView(file, held, held_at).read(into, offset);
    EXPECT_TRUE(got);
    into.resize(*got);
    return into;
  };
  EXPECT_EQ(read(2, 0, 5), (Buffer{1, 2, 7, 8, 9}));
  EXPECT_EQ(read(2, 1, 3), (Buffer{2, 7, 8}));
  EXPECT_EQ(read(6, 2, 7), (Buffer{3, 4, 0, 0, 7, 8, 9}));  // a hole between the file's end and the write
  EXPECT_EQ(read(0, 1, 3), (Buffer{8, 9, 4}));
  EXPECT_EQ(read(2, 0, 9), (Buffer{1, 2, 7, 8, 9}));
}

}  // namespace
}  // namespace rillfs
