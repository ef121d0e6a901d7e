// Goal: what people write is understood exactly or refused, never guessed.
#include "cmd/quantities.h"

#include <gtest/gtest.h>

namespace rillfs::cmd {
namespace {

using std::chrono::milliseconds;

TEST(Quantities, UnderstandsSizes) {
  EXPECT_EQ(parse_size("0").value(), 0u);
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("256MiB").value(), 256u << 20);
  EXPECT_EQ(parse_size("256 mib").value(), 256u << 20);
  EXPECT_EQ(parse_size("4G").value(), 4ull << 30);
  EXPECT_EQ(parse_size("3MB").value(), 3'000'000u);
}

TEST(Quantities, RefusesSizesThatAreNone) {
  for (const char* text :
       {"", "MiB", "-1", "1.5MiB", "1XB", "12 MiB x", "9999999999999999999", "9000000TiB", " 1"})
    EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Quantities, UnderstandsDurations) {
  EXPECT_EQ(parse_duration("0").value(), milliseconds(0));
  EXPECT_EQ(parse_duration("500ms").value(), milliseconds(500));
  EXPECT_EQ(parse_duration("1.5s").value(), milliseconds(1500));
  EXPECT_EQ(parse_duration("1.001s").value(), milliseconds(1001));
  EXPECT_EQ(parse_duration("24h").value(), milliseconds(86'400'000));
  EXPECT_EQ(parse_duration("7d").value(), milliseconds(604'800'000));
}

TEST(Quantities, RefusesDurationsThatAreNone) {
  for (const char* text : {"", "5", "s", "-1s", "1.2.3s", "1e9s", "nan", "inf", "40000d", "1 year"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

TEST(Quantities, UnderstandsAddresses) {
  EXPECT_EQ(parse_host_port("db-1:20202").value(), (HostPort{"db-1", 20202}));
  EXPECT_EQ(parse_host_port("[::1]:1").value(), (HostPort{"::1", 1}));
  EXPECT_EQ(to_text(HostPort{"::1", 1}), "[::1]:1");
}

TEST(Quantities, RefusesAddressesThatAreNone) {
  for (const char* text :
       {"", "db", ":1", "db:", "db:65536", "db:x", "::1:5", "[db]:1", "[]:1", "a b:1", "a/b:1"})
    EXPECT_FALSE(parse_host_port(text)) << text;
}

TEST(Quantities, TextFormsAreReadBackAsTheyWere) {
  for (std::uint64_t bytes : {0ull, 1ull, 1023ull, 1024ull, 1500ull, 256ull << 20, (1ull << 40) + 1})
    EXPECT_EQ(parse_size(size_text(bytes)).value(), bytes);
  for (int ms : {0, 1, 999, 1000, 1500, 60'000, 86'400'000})
    EXPECT_EQ(parse_duration(duration_text(milliseconds(ms))).value(), milliseconds(ms));
}

TEST(Quantities, ModesAreOctal) {
  EXPECT_EQ(parse_mode("0640").value(), 0640u);
  EXPECT_FALSE(parse_mode("0888"));
  EXPECT_FALSE(parse_mode("17777"));
}

}  // namespace
}  // namespace rillfs::cmd
