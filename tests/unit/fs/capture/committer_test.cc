// Goal: a change set holds exactly what a transaction changed, says where it starts and leads, and can be
// taken back as if it had never been. Method: transactions on an array of pages are appended to a real log;
// the log is read back and laid over an empty array.
#include "fs/capture/committer.h"

#include <map>
#include <numeric>

#include "replication/log/reader.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/decoder.h"
#include "unit/fs/sqlite_support.h"
#include "unit/support/faulty_file_system.h"
#include "unit/support/full_disk.h"

namespace rillfs {
namespace {

constexpr std::uint32_t kPageSize = 512;
constexpr DatabaseId kId{0x77};

struct StoppedClock final : Clock {
  Monotonic monotonic() const override { return {}; }
  std::int64_t wall_ms() const override { return 1234567; }
};

/// A record of the log, its image decoded.
struct Record {
  log::RecordInfo info;
  ltx::Header header;
  ltx::Trailer trailer;
  std::map<std::uint32_t, Buffer> pages;
};

class CommitterTest : public testing::Test {
 protected:
  void SetUp() override {
    environment_.node = NodeId{42};
    environment_.epoch = 3;
    open();
  }
  void open() {
    log_.reset();
    auto opened =
        log::Log::open(files_, clock_, directory_.file("log"), kId, {}, environment_.log_options, Txid{});
    ASSERT_TRUE(opened) << opened.error().message;
    log_ = std::move(opened->log);
  }
  void fill(std::uint32_t pgno, int byte) {
    pages_[pgno] = Buffer(page_size_, static_cast<std::uint8_t>(byte));
  }
  Transaction transaction(std::uint32_t commit, std::vector<std::uint32_t> written) {
    Transaction result;
    result.page_size = page_size_;
    result.commit = Pgno{commit};
    for (std::uint32_t pgno : written) result.written.push_back(Pgno{pgno});
    result.read = [this](Pgno pgno, MutableBytes into) -> Result<void> {
      read_.push_back(pgno.value);
      if (unreadable_ == pgno) return errno_error(EIO, "read");
      const Buffer& page = pages_[pgno.value];
      EXPECT_EQ(into.size(), page.size()) << pgno.value;
      std::copy(page.begin(), page.end(), into.begin());
      return {};
    };
    return result;
  }
  /// Appends and publishes; false if nothing has changed.
  bool commit(const Transaction& transaction) {
    auto changed = committer_.append(*log_, transaction);
    EXPECT_TRUE(changed) << changed.error().message;
    if (!changed || !*changed) return false;
    const Position leads_to = committer_.pending_position();
    EXPECT_NE(content_.position(), leads_to) << "nothing moves before it is published";
    committer_.publish();
    EXPECT_EQ(content_.position(), leads_to);
    EXPECT_EQ(content_.sum(), content_.position().checksum);
    EXPECT_EQ(content_.hash(), log_->end().hash);
    return true;
  }
  std::vector<Record> records() {
    std::vector<Record> result;
    auto reader = log::LogReader::open(files_, directory_.file("log"), kId, {});
    EXPECT_TRUE(reader);
    for (;;) {
      auto info = reader->next(log_->end().position.txid);
      EXPECT_TRUE(info) << info.error().message;
      if (!info || !*info) return result;
      Record record{**info, {}, {}, {}};
      auto source = reader->source();
      ltx::Decoder decoder(source);
      record.header = decoder.begin().value();
      for (;;) {
        auto page = decoder.next();
        EXPECT_TRUE(page) << page.error().message;
        if (!page || !*page) break;
        record.pages[(*page)->pgno.value] = Buffer((*page)->data.begin(), (*page)->data.end());
      }
      record.trailer = decoder.finish().value();
      result.push_back(std::move(record));
    }
  }
  /// A database of `count` pages, page n filled with n, as the first change set.
  void start_with(std::uint32_t count) {
    std::vector<std::uint32_t> all;
    for (std::uint32_t n = 1; n <= count; ++n) fill(n, static_cast<int>(n)), all.push_back(n);
    ASSERT_TRUE(commit(transaction(count, all)));
    read_.clear();
  }
  /// New pages of `size` bytes, with other content than for any other size; as many as are one transaction in
  /// memory if they are small, and a streamed one if they are large. Returns their numbers.
  std::vector<std::uint32_t> fill_anew(std::uint32_t size) {
    page_size_ = size;
    std::vector<std::uint32_t> all(Committer::kInMemoryBytesMax / 65536 + 8);
    std::iota(all.begin(), all.end(), 1U);
    for (std::uint32_t n : all) fill(n, static_cast<int>(n + size / 512));
    return all;
  }
  static std::vector<std::uint32_t> numbers(const Record& record) {
    std::vector<std::uint32_t> result;
    for (const auto& [number, page] : record.pages) result.push_back(number);
    return result;
  }
  using Numbers = std::vector<std::uint32_t>;

  test::TemporaryDirectory directory_;
  PosixFileSystem posix_;
  test::FullDisk full_{posix_};
  test::FaultyFileSystem files_{full_};
  StoppedClock clock_;
  SystemRandom random_;
  Environment environment_{files_, clock_, random_, directory_.file("")};
  Content content_;
  Committer committer_{environment_, content_};
  std::unique_ptr<log::Log> log_;
  std::map<std::uint32_t, Buffer> pages_;
  std::uint32_t page_size_ = kPageSize;
  std::vector<std::uint32_t> read_;
  std::optional<Pgno> unreadable_;
};

TEST_F(CommitterTest, TheFirstChangeSetHoldsEveryPage) {
  start_with(3);
  const auto all = records();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(numbers(all[0]), (Numbers{1, 2, 3}));
  EXPECT_TRUE(all[0].header.is_snapshot());
  EXPECT_FALSE(all[0].header.pre_apply.present());
  EXPECT_EQ(all[0].header.node, NodeId{42});
  EXPECT_EQ(all[0].header.timestamp_ms, 1234567);
  EXPECT_EQ(all[0].info.post_position(), content_.position());
  EXPECT_EQ(content_.position().epoch, Epoch{3});
}

TEST_F(CommitterTest, PagesWrittenWithTheContentTheyHadAreLeftOut) {
  start_with(4);
  fill(3, 99);
  ASSERT_TRUE(commit(transaction(4, {1, 2, 3})));
  const auto all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(numbers(all[1]), (Numbers{3}));
  EXPECT_EQ(all[1].header.pre_apply, all[0].trailer.post_apply);
  EXPECT_EQ(all[1].trailer.post_apply, content_.sum());
}

TEST_F(CommitterTest, ATransactionThatChangedNothingIsNoChangeSet) {
  start_with(4);
  const Position before = content_.position();
  EXPECT_FALSE(commit(transaction(4, {1, 4})));
  EXPECT_FALSE(commit(transaction(4, {})));
  EXPECT_EQ(content_.position(), before);
  EXPECT_EQ(records().size(), 1U);
  fill(1, 50);
  EXPECT_TRUE(commit(transaction(4, {1})));
  EXPECT_EQ(content_.position().txid, before.txid.next());
}

TEST_F(CommitterTest, WhatTheDatabaseHasGrownByIsThereWrittenOrNot) {
  start_with(2);
  for (std::uint32_t n : {3U, 4U, 5U}) fill(n, 0);
  ASSERT_TRUE(commit(transaction(5, {4})));
  EXPECT_EQ(numbers(records()[1]), (Numbers{3, 4, 5}));
}

TEST_F(CommitterTest, PagesBehindTheNewEndAreNeitherReadNorThere) {
  start_with(5);
  fill(1, 60);
  fill(4, 61);
  ASSERT_TRUE(commit(transaction(3, {1, 4})));
  EXPECT_EQ(numbers(records()[1]), (Numbers{1}));
  EXPECT_EQ(read_, (Numbers{1}));
  EXPECT_EQ(content_.page_count(), Pgno{3});
}

TEST_F(CommitterTest, GettingSmallerAloneIsAChange) {
  start_with(5);
  ASSERT_TRUE(commit(transaction(4, {})));
  EXPECT_EQ(records()[1].header.commit, Pgno{4});
  ASSERT_TRUE(commit(transaction(0, {})));
  EXPECT_EQ(content_.sum(), Checksum::empty());
}

TEST_F(CommitterTest, AnotherPageSizeBringsEveryPage) {
  start_with(4);
  page_size_ = 2 * kPageSize;
  fill(1, 1);
  fill(2, 2);
  ASSERT_TRUE(commit(transaction(2, {1})));
  const auto all = records();
  EXPECT_EQ(numbers(all[1]), (Numbers{1, 2}));
  EXPECT_EQ(all[1].header.page_size, 2 * kPageSize);
  EXPECT_EQ(content_.page_count(), Pgno{2});
}

TEST_F(CommitterTest, TheLockPageIsNeverReadNorSent) {
  page_size_ = 65536;
  const std::uint32_t lock = ltx::lock_pgno(page_size_).value;
  std::vector<std::uint64_t> sums(lock - 1, Checksum::kFlag | 1);
  Content large({Epoch{3}, Txid{}, {}}, page_size_, std::move(sums));
  content_ = Content({Epoch{3}, Txid{1}, large.sum()}, page_size_, large.sums());
  log_.reset();
  auto opened = log::Log::open(files_, clock_, directory_.file("log-of-large"), kId,
                               log::LogState{content_.position(), content_.hash(), 0, 0},
                               environment_.log_options, Txid{});
  ASSERT_TRUE(opened);
  log_ = std::move(opened->log);
  fill(lock + 1, 5);
  ASSERT_TRUE(commit(transaction(lock + 1, {lock, lock + 1})));
  EXPECT_EQ(read_, (Numbers{lock + 1}));
  EXPECT_FALSE(content_.page(Pgno{lock}).present());
  EXPECT_TRUE(content_.page(Pgno{lock + 1}).present());
}

TEST_F(CommitterTest, ARevokedChangeSetLeavesNoTraceAndItsNumberIsUsedAgain) {
  start_with(3);
  const Position before = content_.position();
  fill(2, 70);
  ASSERT_TRUE(*committer_.append(*log_, transaction(3, {2})));
  ASSERT_TRUE(committer_.revoke(*log_));
  EXPECT_EQ(content_.position(), before);
  EXPECT_EQ(log_->end().position, before);
  EXPECT_EQ(records().size(), 1U);
  fill(2, 71);
  ASSERT_TRUE(commit(transaction(3, {2})));
  const auto all = records();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[1].pages.at(2), Buffer(kPageSize, 71));
  EXPECT_EQ(content_.position().txid, before.txid.next());
}

TEST_F(CommitterTest, LargeTransactionsAreWrittenToTheLogAsTheyAreRead) {
  page_size_ = 65536;
  const std::uint32_t count = Committer::kInMemoryBytesMax / page_size_ + 8;
  start_with(count);
  EXPECT_EQ(records()[0].pages.size(), count);
  EXPECT_EQ(records()[0].pages.at(count), pages_[count]);
  Numbers all;
  for (std::uint32_t n = 1; n <= count; ++n) all.push_back(n);
  EXPECT_FALSE(commit(transaction(count, all))) << "nothing has changed";
  EXPECT_EQ(records().size(), 1U);
  fill(count, 3);
  EXPECT_TRUE(commit(transaction(count, all)));
  EXPECT_EQ(numbers(records()[1]), (Numbers{count}));
}

TEST_F(CommitterTest, APageThatCannotBeReadIsNoChangeSetSmallOrLarge) {
  for (std::uint32_t size : {512U, 65536U}) {
    SCOPED_TRACE(size);
    const Numbers all = fill_anew(size);
    const auto count = static_cast<std::uint32_t>(all.size());
    unreadable_ = Pgno{count / 2};
    const std::size_t before = records().size();
    const Position position = content_.position();
    EXPECT_FALSE(committer_.append(*log_, transaction(count, all)));
    EXPECT_EQ(content_.position(), position);
    EXPECT_EQ(records().size(), before);
    unreadable_.reset();
    EXPECT_TRUE(commit(transaction(count, all)));
  }
}

TEST_F(CommitterTest, WithoutRoomInTheLogNothingIsThereAndTheNextOneIs) {
  start_with(3);
  for (std::uint32_t size : {512U, 65536U}) {
    SCOPED_TRACE(size);
    const Numbers all = fill_anew(size);
    const auto count = static_cast<std::uint32_t>(all.size());
    const std::size_t before = records().size();
    files_.fail_nth(0, ENOSPC);
    auto appended = committer_.append(*log_, transaction(count, all));
    ASSERT_FALSE(appended);
    EXPECT_EQ(appended.error().code, ErrorCode::kNoSpace);
    EXPECT_EQ(records().size(), before);
    EXPECT_TRUE(commit(transaction(count, all)));
    EXPECT_EQ(records().size(), before + 1);
  }
}

TEST_F(CommitterTest, ATransactionThatChangedNothingNeedsNoRoom) {
  environment_.log_options.segment_size_max = 1;  // the next record begins a new file
  open();
  for (std::uint32_t size : {512U, 65536U}) {
    SCOPED_TRACE(size);
    const Numbers all = fill_anew(size);
    const auto count = static_cast<std::uint32_t>(all.size());
    ASSERT_TRUE(commit(transaction(count, all)));
    for (int room = 0; room < 3; ++room) {
      full_.fill_after(room);
      EXPECT_FALSE(commit(transaction(count, all)));
      full_.free();
    }
    fill(1, 7);
    full_.fill_after(0);
    EXPECT_FALSE(committer_.append(*log_, transaction(count, all))) << "this one needs room";
    full_.free();
    EXPECT_TRUE(commit(transaction(count, all)));
  }
}

TEST_F(CommitterTest, SaysWhereInTheWalItsFramesAre) {
  start_with(2);
  fill(2, 9);
  Transaction of_wal = transaction(2, {2});
  of_wal.wal = WalSpan{32, 4152, 11, 22};
  ASSERT_TRUE(commit(of_wal));
  const ltx::Header header = records()[1].header;
  EXPECT_EQ(header.wal_offset, 32U);
  EXPECT_EQ(header.wal_size, 4152U);
  EXPECT_EQ(header.wal_salt1, 11U);
  EXPECT_EQ(header.wal_salt2, 22U);
}

TEST_F(CommitterTest, WhatWasPublishedIsThereWhenTheLogIsOpenedAgain) {
  start_with(3);
  fill(1, 44);
  ASSERT_TRUE(commit(transaction(3, {1})));
  open();
  EXPECT_EQ(log_->end().position, content_.position());
  EXPECT_EQ(log_->end().hash, content_.hash());
}

}  // namespace
}  // namespace rillfs
