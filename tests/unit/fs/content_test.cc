// Goal: page checksums and both sums always say the same thing, whichever way a content came about. Method:
// contents that grew by change sets are compared with ones that were summed up from their pages.
#include "fs/content.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace rillfs {
namespace {

constexpr std::uint32_t kPageSize = 512;

Checksum sum_of(std::uint64_t value) { return Checksum{Checksum::kFlag | value}; }
Position at(std::uint64_t txid, Checksum checksum = {}) { return {Epoch{1}, Txid{txid}, checksum}; }

Content of(std::vector<std::uint64_t> sums, std::uint32_t page_size = kPageSize) {
  return Content(at(1), page_size, std::move(sums));
}
void expect_same(const Content& a, const Content& b) {
  EXPECT_EQ(a.sums(), b.sums());
  EXPECT_EQ(a.sum(), b.sum());
  EXPECT_EQ(a.hash(), b.hash());
}

TEST(Content, WithoutPagesIsTheEmptyDatabase) {
  const Content content;
  EXPECT_EQ(content.page_count(), Pgno{0});
  EXPECT_EQ(content.page_size(), 0U);
  EXPECT_EQ(content.sum(), Checksum::empty());
  EXPECT_EQ(content.hash(), log::ContentHash{});
}

TEST(Content, KnowsNoPageOutsideOfIt) {
  const Content content = of({sum_of(1).value, 0, sum_of(3).value});
  EXPECT_FALSE(content.page(Pgno{0}).present());
  EXPECT_EQ(content.page(Pgno{1}), sum_of(1));
  EXPECT_FALSE(content.page(Pgno{2}).present()) << "a lock page has no checksum";
  EXPECT_FALSE(content.page(Pgno{4}).present());
  EXPECT_FALSE(content.page(Pgno{UINT32_MAX}).present());
}

TEST(Content, ChangesLeadWhereCountingAnewLeads) {
  std::mt19937_64 random(7);
  Content content;
  for (int round = 0; round < 500; ++round) {
    const std::uint32_t old_count = content.page_count().value;
    const auto count = static_cast<std::uint32_t>(random() % 20);
    std::map<std::uint32_t, Checksum> changes;
    for (std::uint32_t n = old_count + 1; n <= count; ++n) changes[n] = sum_of(random());
    for (int i = 0; i < 3 && count > 0; ++i)
      changes[1 + static_cast<std::uint32_t>(random() % count)] = sum_of(random());
    std::vector<PageChange> list;
    for (const auto& [number, checksum] : changes) list.push_back({Pgno{number}, checksum});

    std::vector<std::uint64_t> sums = content.sums();
    sums.resize(count, 0);
    for (const auto& [number, checksum] : changes) sums[number - 1] = checksum.value;
    const Content expected = of(sums);
    const Content before = content;
    const auto preview = content.preview(list, Pgno{count}, kPageSize);
    expect_same(content, before);
    content.apply(list, Pgno{count}, kPageSize, at(2 + static_cast<std::uint64_t>(round), preview.rolling));
    expect_same(content, expected);
    ASSERT_EQ(preview.rolling, expected.sum());
    ASSERT_EQ(preview.hash, expected.hash());
    ASSERT_EQ(content.position().checksum, content.sum());
  }
}

TEST(Content, AnotherPageSizeMakesEveryPageANewOne) {
  Content content = of({sum_of(1).value, sum_of(2).value, sum_of(3).value});
  const std::vector<PageChange> changes{{Pgno{1}, sum_of(8)}, {Pgno{2}, sum_of(9)}};
  content.apply(changes, Pgno{2}, 2 * kPageSize, at(2));
  expect_same(content, of({sum_of(8).value, sum_of(9).value}, 2 * kPageSize));
  EXPECT_EQ(content.page_size(), 2 * kPageSize);
}

TEST(Content, WithoutAnyPageLeftIsTheEmptySumAgain) {
  Content content = of({sum_of(1).value, sum_of(2).value});
  content.apply({}, Pgno{0}, kPageSize, at(2));
  EXPECT_EQ(content.sum(), Checksum::empty());
  EXPECT_EQ(content.hash(), log::ContentHash{});
}

TEST(Content, TwoPagesSwappedHaveAnotherHashThoughTheSameSum) {
  const Content content = of({sum_of(1).value, sum_of(2).value});
  const Content swapped = of({sum_of(2).value, sum_of(1).value});
  EXPECT_EQ(content.sum(), swapped.sum());
  EXPECT_NE(content.hash(), swapped.hash());
}

}  // namespace
}  // namespace rillfs
