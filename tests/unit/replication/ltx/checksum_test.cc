// Goal: the checksums are those of the LTX standard. Method: published values.
#include "replication/ltx/checksum.h"

#include <gtest/gtest.h>

#include "unit/support/vectors.h"

namespace rillfs::ltx {
namespace {

using test::page_of;

std::uint64_t sum(std::initializer_list<int> contents, std::size_t page_size) {
  Checksum rolling = Checksum::empty();
  Pgno pgno;
  for (int content : contents) {
    pgno = pgno.next();
    rolling = rolling.toggled(page_checksum(pgno, page_of(page_size, content)));
  }
  return rolling.value;
}

}  // namespace

TEST(LtxChecksum, HasTheCheckValueOfCrc64GoIso) {
  const std::uint8_t text[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  Crc64 whole, parts;
  whole.update(text);
  EXPECT_EQ(whole.value(), 0xb90956c775a41001u);
  parts.update(Bytes(text).first(4));
  parts.update({});
  parts.update(Bytes(text).subspan(4));
  EXPECT_EQ(parts.value(), whole.value());
}

TEST(LtxChecksum, OfSinglePages) {
  EXPECT_EQ(page_checksum(Pgno{1}, page_of(512, '2')).value, 0xc6e57aa102377eeeu);
  EXPECT_EQ(page_checksum(Pgno{2}, page_of(512, '3')).value, 0xcd62389fecd99000u);
  EXPECT_EQ(page_checksum(Pgno{2}, page_of(512, '4')).value, 0x9dc8a01764511888u);
  EXPECT_EQ(page_checksum(Pgno{1}, page_of(4096, 0)).value, 0xd9328f592d9e733du);
  EXPECT_EQ(page_checksum(Pgno{1}, page_of(1024, '2')).value, 0xe0d53ff6f3d08215u);
  EXPECT_EQ(page_checksum(Pgno{2}, page_of(1024, '3')).value, 0x815ca49babaa28bfu);
  EXPECT_EQ(page_checksum(Pgno{1}, page_of(512, '1')).value, 0xeb1a999231044dddu);
  EXPECT_EQ(page_checksum(Pgno{1}, page_of(1024, 0x81)).value, 0xeb953fc47685d740u);
}

TEST(LtxChecksum, OfDatabases) {
  EXPECT_EQ(sum({}, 512), 0x8000000000000000u);
  EXPECT_EQ(sum({'2', '3'}, 1024), 0xe1899b6d587aaaaau);
  EXPECT_EQ(sum({'2', '3'}, 512), 0x8b87423eeeeeeeeeu);
  EXPECT_EQ(sum({1, 2, 3}, 512), 0xefffffffecd99000u);
  EXPECT_EQ(sum({0x81, 0x82, 0x83}, 1024), 0x8a249272ad9f7deau);
}

TEST(LtxChecksum, LeavesOutTheLockPage) {
  Buffer page = page_of(4096, 'x');
  Checksum rolling = Checksum::empty();
  for (Pgno pgno{1}; pgno.value <= 262145 + 10; pgno = pgno.next()) {
    if (pgno != lock_pgno(4096)) rolling = rolling.toggled(page_checksum(pgno, page));
  }
  EXPECT_EQ(rolling.value, 0xc19b668c376662c7u);
}

TEST(LtxChecksum, LockPageOfEveryPageSize) {
  const std::pair<std::uint32_t, std::uint32_t> expected[] = {{512, 2097153}, {1024, 1048577}, {2048, 524289},
                                                              {4096, 262145}, {8192, 131073},  {16384, 65537},
                                                              {32768, 32769}, {65536, 16385}};
  for (auto [page_size, pgno] : expected) EXPECT_EQ(lock_pgno(page_size), Pgno{pgno});
}

}  // namespace rillfs::ltx
