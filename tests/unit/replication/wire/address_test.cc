// Goal: an address is understood exactly or refused with an example, and comes back as it was written.
#include <gtest/gtest.h>

#include "replication/wire/transport.h"

namespace rillfs::wire {
namespace {

TEST(Address, UnderstandsNamesAndBothKindsOfNumbers) {
  const struct {
    const char* text;
    const char* host;
    const char* port;
  } cases[] = {{"db1:20202", "db1", "20202"},
               {"127.0.0.1:0", "127.0.0.1", "0"},
               {"[::1]:65535", "::1", "65535"},
               {"[fe80::1%eth0]:1", "fe80::1%eth0", "1"},
               {"db.example:00080", "db.example", "00080"},
               {":20202", "", "20202"}};
  for (const auto& [text, host, port] : cases) {
    auto address = parse_address(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->host, host) << text;
    EXPECT_EQ(address->port, port) << text;
    EXPECT_EQ(to_text(*address), text);
  }
}

TEST(Address, RefusesWhatIsNone) {
  for (const char* text :
       {"",       "db1",       "db1:",      ":",          "db1:http",   "db1:-1",  "db1:+1",
        "db1: 1", "db1:65536", "db1:99999", "db1:100000", "db1:000001", "::1",     "::1:80",
        "[::1]",  "[::1",      "[::1:80",   "::1]:80",    "db1:80:90",  "db1:0x50"}) {
    auto address = parse_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, ErrorCode::kInvalid) << text;
    EXPECT_NE(address.error().message.find("db1:20202"), std::string::npos) << address.error().message;
  }
}

TEST(Address, RefusesBracketsThatHoldNoNumber) {
  for (const char* text : {"[]:80", "[", "[:80", "[[::1]]:80", "[db1]x]:80"})
    EXPECT_FALSE(parse_address(text)) << text;
}

}  // namespace
}  // namespace rillfs::wire
