// Goal: several change sets merged into one leave what they leave one after the other.
// Method: transactions of a real SQLite, which grow, shrink and rewrite a database, are merged in groups of
// random size, and each result is laid over a copy: after each group it must be the source, byte by byte.
#include "fs/apply/merged_change_sets.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/fs/apply/change_sets.h"

namespace rillfs::apply {
namespace {

using test::TemporaryDirectory;

class MergedChangeSetsTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kPageSize = 1024;

  static log::RecordInfo record(Txid txid, Pgno commit, std::uint32_t page_size = kPageSize) {
    log::RecordInfo record;
    record.min_txid = record.max_txid = txid;
    record.commit = commit;
    record.page_size = page_size;
    record.image_size = 1000;
    return record;
  }
  bool add(const ChangeSet& set, int fail_at = -1) {
    ChangeSetPages pages(set, fail_at);
    txid_ = txid_.next();
    auto added = merged_.add(pages, record(txid_, set.commit));
    return added && *added;
  }
  static ChangeSet one_page(std::uint32_t pgno, std::uint8_t content, std::uint32_t commit) {
    return {{{Pgno{pgno}, Buffer(kPageSize, content)}}, Pgno{commit}};
  }
  /// Page numbers and first bytes.
  std::vector<std::pair<std::uint32_t, int>> merged() {
    std::vector<std::pair<std::uint32_t, int>> pages;
    merged_.rewind();
    while (auto page = *merged_.next()) pages.emplace_back(page->pgno.value, page->data[0]);
    return pages;
  }
  using Pages = std::vector<std::pair<std::uint32_t, int>>;

  MergedChangeSets merged_;
  Txid txid_;
};

TEST_F(MergedChangeSetsTest, LeaveWhatTheyLeaveOneAfterTheOther) {
  TemporaryDirectory dir;
  Source source(dir.file("source.db"), kPageSize);
  Buffer copy = test::read_all(source.path());
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    const unsigned count = 1 + random() % 9;
    for (unsigned i = 0; i < count; ++i) {
      ChangeSet set;
      switch (random() % 6) {
        case 0:
          set = source.commit("BEGIN; DELETE FROM log WHERE id%2=1; INSERT INTO log(x) VALUES(1); COMMIT; ");
          break;
        case 1:
          set = source.commit("VACUUM");
          break;
        default:
          set = source.transfer();
      }
      ASSERT_TRUE(add(set));
    }
    EXPECT_EQ(merged_.count(), count);
    merged_.rewind();
    CheckedPages checked(merged_, merged_.last().commit, kPageSize);
    copy.resize(std::max<std::size_t>(copy.size(), merged_.last().database_size()));
    for (;;) {
      auto page = checked.next();
      ASSERT_TRUE(page) << page.error().message;
      if (!*page) break;
      std::copy((*page)->data.begin(), (*page)->data.end(),
                copy.begin() + std::ptrdiff_t{(*page)->pgno.value - 1} * kPageSize);
    }
    copy.resize(merged_.last().database_size());
    source.checkpoint();
    ASSERT_TRUE(test::read_all(source.path()) == copy) << "round " << round;
    merged_.clear();
  }
}

TEST_F(MergedChangeSetsTest, APageThatWasCutOffCountsOnlyAsItComesAgain) {
  ASSERT_TRUE(add(one_page(5, 1, 5)));
  ASSERT_TRUE(add(one_page(2, 2, 4)));
  EXPECT_EQ(merged(), (Pages{{2, 2}}));
  ASSERT_TRUE(add(one_page(5, 3, 5)));
  EXPECT_EQ(merged(), (Pages{{2, 2}, {5, 3}}));
  EXPECT_EQ(merged(), (Pages{{2, 2}, {5, 3}})) << "it can be read again";
}

TEST_F(MergedChangeSetsTest, ABrokenChangeSetLeavesNothingBehind) {
  ASSERT_TRUE(add(one_page(3, 1, 9)));
  ChangeSet broken = one_page(3, 2, 9);
  broken.pages[Pgno{4}] = Buffer(kPageSize, 2);
  EXPECT_FALSE(add(broken, 1));
  EXPECT_FALSE(add(one_page(10, 2, 9))) << "a page beyond the end";
  EXPECT_EQ(merged(), (Pages{{3, 1}}));
  EXPECT_EQ(merged_.last().max_txid, Txid{1});
  ASSERT_TRUE(add(one_page(4, 3, 9)));
  EXPECT_EQ(merged(), (Pages{{3, 1}, {4, 3}}));
}

TEST_F(MergedChangeSetsTest, WhatCannotBeMergedIsLeftAlone) {
  ASSERT_TRUE(add(one_page(1, 1, 9)));
  const ChangeSet empty;
  ChangeSetPages none(empty);
  auto snapshot = record(Txid{2}, Pgno{9});
  snapshot.flags |= log::kSnapshot;
  for (const auto& other : {snapshot, record(Txid{2}, Pgno{0}), record(Txid{2}, Pgno{9}, 4096)}) {
    auto added = merged_.add(none, other);
    ASSERT_TRUE(added) << added.error().message;
    EXPECT_FALSE(*added);
  }
  EXPECT_EQ(merged_.count(), 1U);
}

TEST_F(MergedChangeSetsTest, MemoryAndNumberAreBounded) {
  ChangeSet large;
  large.commit = Pgno{2 * MergedChangeSets::kBytesMax / kPageSize};
  for (std::uint32_t pgno = 1; pgno <= large.commit.value; ++pgno)
    large.pages[Pgno{pgno}] = Buffer(kPageSize, 1);
  EXPECT_FALSE(add(large));
  EXPECT_TRUE(merged_.empty());
  for (std::size_t i = 0; i < MergedChangeSets::kCountMax; ++i)
    ASSERT_TRUE(add(one_page(1, static_cast<std::uint8_t>(i), 9)));
  EXPECT_FALSE(add(one_page(1, 1, 9)));
}

}  // namespace
}  // namespace rillfs::apply
