// Goal: a transaction sees its own writes, nobody else does, and a commit makes the file exactly what the
// transaction saw. Method: random writes, cuts and growths beside a plain byte array that does the same.
#include "fs/capture/staging.h"

#include <algorithm>
#include <random>

#include "unit/fs/sqlite_support.h"
#include "unit/support/faulty_file_system.h"
#include "unit/support/full_disk.h"

namespace rillfs {
namespace {

constexpr std::uint64_t kSector = Staging::kSector;

class StagingTest : public testing::Test {
 protected:
  void SetUp() override { start_with(0); }
  /// A database file of `size` random bytes, and nothing staged.
  void start_with(std::uint64_t size) {
    staging_.clear();
    committed_ = random_bytes(size);
    test::write_all(path_, committed_);
    below_ = std::move(files_.open(path_, OpenMode::kReadWrite, "test").value());
    expected_ = committed_;
  }
  Buffer random_bytes(std::uint64_t size) {
    Buffer bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_() | 1);  // never 0: gaps are seen
    return bytes;
  }
  std::uint64_t below_number(std::uint64_t limit) { return random_() % limit; }

  void write(std::uint64_t offset, std::uint64_t size) {
    const Buffer bytes = random_bytes(size);
    ASSERT_TRUE(staging_.write(files_, directory_.file(""), *below_, bytes, offset));
    if (size == 0) return;
    if (expected_.size() < offset + size) expected_.resize(offset + size, 0);
    std::copy(bytes.begin(), bytes.end(), expected_.begin() + static_cast<std::ptrdiff_t>(offset));
  }
  void resize(std::uint64_t size) {
    ASSERT_TRUE(staging_.resize(*below_, size));
    expected_.resize(size, 0);
  }
  Buffer read(std::uint64_t offset, std::uint64_t size) {
    Buffer bytes(size, 0xEE);
    auto got = staging_.read(*below_, bytes, offset);
    EXPECT_TRUE(got);
    bytes.resize(got ? *got : 0);
    return bytes;
  }
  Buffer expected(std::uint64_t offset, std::uint64_t size) const {
    if (offset >= expected_.size()) return {};
    const std::uint64_t end = std::min<std::uint64_t>(expected_.size(), offset + size);
    return {expected_.begin() + static_cast<std::ptrdiff_t>(offset),
            expected_.begin() + static_cast<std::ptrdiff_t>(end)};
  }
  void commit() {
    bool untouched = true;
    ASSERT_TRUE(staging_.copy_to(*below_, staging_.size().value_or(expected_.size()), &untouched));
    EXPECT_FALSE(untouched);
    staging_.clear();
  }

  test::TemporaryDirectory directory_;
  PosixFileSystem posix_;
  test::FaultyFileSystem files_{posix_};
  test::FullDisk full_{posix_};
  std::string path_ = directory_.file("database");
  std::unique_ptr<File> below_;
  Staging staging_;
  std::mt19937_64 random_{20261121};
  Buffer committed_;
  Buffer expected_;
};

TEST_F(StagingTest, ReadsAndCommitsWhatAPlainFileWouldHold) {
  for (int round = 0; round < 300; ++round) {
    SCOPED_TRACE(round);
    // Half of the rounds as SQLite does it, in whole sectors; half at any byte.
    const std::uint64_t grain = round % 2 == 0 ? kSector : 1;
    const auto place = [&] { return below_number(40 * kSector) / grain * grain; };
    start_with(place());
    for (int transaction = 0; transaction < 2; ++transaction) {
      for (int step = 0; step < 12; ++step) {
        if (below_number(4) == 0) {
          resize(place());
        } else {
          write(place(), below_number(6 * kSector) / grain * grain);
        }
        const std::uint64_t offset = below_number(50 * kSector);
        const std::uint64_t size = below_number(20 * kSector);
        ASSERT_EQ(read(offset, size), expected(offset, size)) << "at " << offset << ", " << size << " bytes";
        ASSERT_EQ(read(0, 1 << 20), expected_);
        ASSERT_EQ(test::read_all(path_), committed_) << "the file must not change before the commit";
      }
      commit();
      committed_ = expected_;
      ASSERT_EQ(test::read_all(path_), expected_);
      ASSERT_EQ(read(0, 1 << 20), expected_);
    }
  }
}

TEST_F(StagingTest, IsEmptyUntilSomethingIsWrittenAndAfterItIsCleared) {
  start_with(4 * kSector);
  EXPECT_TRUE(staging_.empty());
  EXPECT_FALSE(staging_.size());
  write(0, 0);
  EXPECT_TRUE(staging_.empty());
  write(kSector, kSector);
  EXPECT_FALSE(staging_.empty());
  EXPECT_EQ(staging_.size(), 4 * kSector);
  staging_.clear();
  EXPECT_TRUE(staging_.empty());
  EXPECT_EQ(read(0, 4 * kSector), committed_);
}

TEST_F(StagingTest, NothingOfAClearedTransactionShowsInTheNextOne) {
  start_with(8 * kSector);
  write(0, 8 * kSector);
  resize(3 * kSector + 7);
  staging_.clear();
  expected_ = committed_;
  write(5 * kSector + 100, 10);
  EXPECT_EQ(read(0, 1 << 20), expected_);
}

TEST_F(StagingTest, BytesBehindACutStayZeroWhenTheFileGrowsAgain) {
  start_with(8 * kSector);
  write(2 * kSector, kSector);
  resize(2 * kSector + 100);
  resize(8 * kSector);
  EXPECT_EQ(read(0, 8 * kSector), expected_);
  commit();
  EXPECT_EQ(test::read_all(path_), expected_);
}

TEST_F(StagingTest, NamesEachPageThatHasAStagedByteOnce) {
  start_with(64 * kSector);
  write(0, kSector);
  write(8 * kSector + 3, 2);
  write(9 * kSector, kSector);
  write(63 * kSector, 2 * kSector);
  const auto numbers = [&](std::uint32_t page_size) {
    std::vector<std::uint32_t> result;
    for (Pgno pgno : staging_.pages(page_size)) result.push_back(pgno.value);
    return result;
  };
  EXPECT_EQ(numbers(512), (std::vector<std::uint32_t>{1, 9, 10, 64, 65}));
  EXPECT_EQ(numbers(4096), (std::vector<std::uint32_t>{1, 2, 8, 9}));
  EXPECT_EQ(numbers(65536), (std::vector<std::uint32_t>{1}));
  resize(9 * kSector);
  EXPECT_EQ(numbers(512), (std::vector<std::uint32_t>{1, 9}));
}

TEST_F(StagingTest, PagesBehindTheCommittedSizeAreNotCopied) {
  start_with(2 * kSector);
  write(0, 6 * kSector);
  bool untouched = true;
  ASSERT_TRUE(staging_.copy_to(*below_, 3 * kSector, &untouched));
  EXPECT_EQ(test::read_all(path_), expected(0, 3 * kSector));
}

TEST_F(StagingTest, CopiesRunsThatAreLongerThanItsBuffer) {
  start_with(100 * kSector);
  write(kSector, 900 * 1024);
  write(2000 * kSector, 300 * 1024);
  commit();
  EXPECT_EQ(test::read_all(path_), expected_);
}

TEST_F(StagingTest, WithoutRoomToGrowTheFileIsAsBefore) {
  start_with(4 * kSector);
  // The run that grows the file comes in two parts, of which the second one finds no room.
  write(0, 6 * kSector);
  write(8 * kSector, kSector);
  below_ = std::move(files_.open(path_, OpenMode::kReadWrite, "test").value());
  for (int nth = 0; nth < 2; ++nth) {
    files_.fail_nth(nth, ENOSPC, "commit: copy staged pages");
    bool untouched = false;
    auto copied = staging_.copy_to(*below_, *staging_.size(), &untouched);
    ASSERT_FALSE(copied);
    EXPECT_EQ(copied.error().code, ErrorCode::kNoSpace);
    EXPECT_TRUE(untouched);
    EXPECT_EQ(test::read_all(path_), committed_);
    EXPECT_EQ(read(0, 1 << 20), expected_) << "the transaction itself is still there";
  }
  commit();
  EXPECT_EQ(test::read_all(path_), expected_);
}

TEST_F(StagingTest, AFailureWithinTheOldSizeSaysThatTheFileMayHaveChanged) {
  start_with(4 * kSector);
  write(0, 2 * kSector);
  files_.fail_nth(0, EIO, "commit: copy staged pages");
  bool untouched = true;
  EXPECT_FALSE(staging_.copy_to(*below_, 4 * kSector, &untouched));
  EXPECT_FALSE(untouched);
}

TEST_F(StagingTest, AWriteThatFailsCanBeMadeAgain) {
  start_with(6 * kSector);
  for (int room = 0; room < 4; ++room) {
    SCOPED_TRACE(room);
    staging_ = {};
    full_.fill_after(room);
    const Buffer bytes = random_bytes(2 * kSector);
    auto staged = staging_.write(full_, directory_.file(""), *below_, bytes, 100);
    EXPECT_EQ(staged.has_value(), room == 3) << "the file itself, two sectors in part, the bytes";
    full_.free();
    ASSERT_TRUE(staging_.write(full_, directory_.file(""), *below_, bytes, 100));
    EXPECT_EQ(read(100, bytes.size()), bytes);
    EXPECT_EQ(read(0, 100), expected(0, 100));
    EXPECT_EQ(read(100 + bytes.size(), kSector), expected(100 + bytes.size(), kSector));
    EXPECT_EQ(test::read_all(path_), committed_);
  }
}

TEST_F(StagingTest, ARollbackNeedsNoRoom) {
  start_with(6 * kSector);
  ASSERT_TRUE(staging_.write(full_, directory_.file(""), *below_, random_bytes(kSector), kSector));
  full_.fill_after(0);
  EXPECT_FALSE(staging_.write(full_, directory_.file(""), *below_, random_bytes(kSector), 3 * kSector));
  for (std::uint64_t sector : {1, 2, 3, 5}) {
    const Bytes old = Bytes(committed_).subspan(sector * kSector, kSector);
    EXPECT_TRUE(staging_.write(full_, directory_.file(""), *below_, old, sector * kSector)) << sector;
  }
  EXPECT_EQ(read(0, 1 << 20), committed_);
}

TEST_F(StagingTest, ARollbackOfAKilledWriterNeedsNoRoom) {
  start_with(6 * kSector);
  full_.fill_after(0);
  EXPECT_TRUE(staging_.write(full_, directory_.file(""), *below_, committed_, 0));
  EXPECT_TRUE(staging_.resize(*below_, 2 * kSector));
  EXPECT_EQ(read(0, 1 << 20), expected(0, 2 * kSector));
  staging_.clear();
  EXPECT_EQ(read(0, 1 << 20), committed_);
}

}  // namespace
}  // namespace rillfs
