// Goal: a page counts as being in the file when, and only when, the file was said to hold its last change.
// Method: every order of receiving, applying and holding that a replica knows, told directly.
#include "fs/pages_ahead.h"

#include <gtest/gtest.h>

namespace rillfs::test {
namespace {

Position at(std::uint64_t txid, std::uint64_t checksum = 0) {
  return {Epoch{1}, Txid{txid}, Checksum{checksum == 0 ? txid : checksum}};
}
std::vector<PageChange> pages(std::initializer_list<std::uint32_t> numbers) {
  std::vector<PageChange> changes;
  for (std::uint32_t n : numbers) changes.push_back({Pgno{n}, Checksum{n}});
  return changes;
}

TEST(PagesAhead, AChangedPageIsAheadUntilTheFileHoldsItsLastChange) {
  PagesAhead ahead;
  EXPECT_FALSE(ahead.contains(Pgno{1}));
  ahead.changed(pages({1, 2}), Txid{5});
  ahead.changed(pages({2, 3}), Txid{6});
  ahead.applied(at(6));
  EXPECT_TRUE(ahead.contains(Pgno{1}) && ahead.contains(Pgno{2}) && ahead.contains(Pgno{3}));
  ahead.file_holds(at(5));
  EXPECT_FALSE(ahead.contains(Pgno{1}));
  EXPECT_TRUE(ahead.contains(Pgno{2}) && ahead.contains(Pgno{3}));
  ahead.file_holds(at(6));
  EXPECT_EQ(ahead.size(), 0U);
}

TEST(PagesAhead, PagesThatChangeAgainAndAgainWhileApplyingWaitAreKeptOnce) {
  PagesAhead ahead;
  for (std::uint64_t txid = 1; txid <= 1000; ++txid)
    ahead.changed(pages({1, 2, 10 + static_cast<std::uint32_t>(txid % 3)}), Txid{txid});
  EXPECT_EQ(ahead.size(), 5U);
  ahead.file_holds(at(997));
  EXPECT_EQ(ahead.size(), 5U);
  ahead.file_holds(at(998));
  EXPECT_EQ(ahead.size(), 4U);
  ahead.file_holds(at(1000));
  EXPECT_EQ(ahead.size(), 0U);
}

TEST(PagesAhead, ASnapshotPutsEveryPageAheadUntilItIsAppliedAndInTheFile) {
  PagesAhead ahead;
  ahead.changed(pages({1}), Txid{9});
  ahead.replaced(at(7));
  EXPECT_TRUE(ahead.contains(Pgno{1000}));
  ahead.file_holds(at(9));  // late word of the history before it
  EXPECT_TRUE(ahead.contains(Pgno{1000}));
  ahead.applied(at(9));
  ahead.file_holds(at(9));
  EXPECT_TRUE(ahead.replacing());
  ahead.applied(at(7, 7));
  EXPECT_TRUE(ahead.contains(Pgno{1000}));  // in the WAL
  ahead.changed(pages({4}), Txid{8});
  ahead.file_holds(at(7, 7));
  EXPECT_FALSE(ahead.contains(Pgno{1000}));
  EXPECT_TRUE(ahead.contains(Pgno{4}));
  ahead.file_holds(at(8));
  EXPECT_FALSE(ahead.contains(Pgno{4}));
}

}  // namespace
}  // namespace rillfs::test
