#include "replication/base/types.h"

#include <gtest/gtest.h>

namespace rillfs {

TEST(Types, HexIsSixteenLowerCaseDigitsAndRoundTrips) {
  EXPECT_EQ(to_hex(0xabcdef), "0000000000abcdef");
  EXPECT_EQ(from_hex("0000000000ABCDEF"), 0xabcdefu);
  EXPECT_FALSE(from_hex("abcdef"));
  EXPECT_FALSE(from_hex("000000000000000g"));
}

TEST(Types, AddingAPageChecksumTwiceRemovesIt) {
  Checksum page{0x8000000000001234};
  EXPECT_EQ(Checksum::empty().toggled(page).toggled(page), Checksum::empty());
}

}  // namespace rillfs
