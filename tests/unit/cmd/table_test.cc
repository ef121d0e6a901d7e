// Goal: columns stand under each other whatever is in them, and quantities read well at every size.
#include "cmd/table.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <limits>
#include <sstream>

namespace rillfs::cmd {
namespace {

TEST(Table, LinesColumnsUpAndLeavesNoBlanksAtTheEnd) {
  Table table({{"NAME"}, {"SIZE", true}, {"NOTE"}});
  table.add({{"a"}, {"1"}, {"x"}});
  table.add({{"longer"}, {"12345"}, {""}});
  table.add({{""}, {""}, {"last"}});
  EXPECT_EQ(table.render(false),
            "NAME     SIZE  NOTE\n"
            "a           1  x\n"
            "longer  12345\n"
            "               last\n");
}

TEST(Table, WithoutRowsIsItsHeadings) { EXPECT_EQ(Table({{"A"}, {"B", true}}).render(false), "A  B\n"); }

TEST(Table, CountsCharactersNotBytes) {
  Table table({{"NAME"}, {"N", true}});
  table.add({{"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"}, {"1"}});
  table.add({{"abcde"}, {"2"}});
  EXPECT_EQ(table.render(false), "NAME   N\n\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9  1\nabcde  2\n");
}

TEST(Table, ColoursChangeNoWidth) {
  Table table({{"STATE"}, {"N", true}});
  table.add({{"up", Colour::kGreen}, {"1"}});
  table.add({{"down", Colour::kRed}, {"22", Colour::kBold}});
  std::string coloured_text = table.render(true);
  for (std::size_t at; (at = coloured_text.find('\x1b')) != std::string::npos;)
    coloured_text.erase(at, coloured_text.find('m', at) - at + 1);
  EXPECT_EQ(coloured_text, table.render(false));
  EXPECT_NE(table.render(true).find("\x1b[31mdown\x1b[0m"), std::string::npos);
}

TEST(Coloured, OnlyWhereThereIsSomethingToColour) {
  EXPECT_EQ(coloured("x", Colour::kYellow, true), "\x1b[33mx\x1b[0m");
  EXPECT_EQ(coloured("x", Colour::kYellow, false), "x");
  EXPECT_EQ(coloured("x", Colour::kNone, true), "x");
  EXPECT_EQ(coloured("", Colour::kRed, true), "");
}

TEST(Coloured, NeverWhatIsNoTerminal) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(wants_colour(ends[1]));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(Coloured, OnATerminalUnlessNoColorSaysNo) {
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) GTEST_SKIP() << "no terminals here";
  ::unsetenv("NO_COLOR");
  EXPECT_TRUE(wants_colour(terminal));
  ::setenv("NO_COLOR", "", 1);
  EXPECT_TRUE(wants_colour(terminal));
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_colour(terminal));
  ::unsetenv("NO_COLOR");
  ::close(terminal);
}

TEST(HumanSize, HasThreeDigitsAtEveryStep) {
  EXPECT_EQ(human_size(1), "1 B");
  EXPECT_EQ(human_size(1024), "1 KiB");
  EXPECT_EQ(human_size(10 * 1024), "10 KiB");
  EXPECT_EQ(human_size(10 * 1024 + 512), "10.5 KiB");
  EXPECT_EQ(human_size(100 * 1024 + 512), "100 KiB");
  EXPECT_EQ(human_size(1000 * 1024), "1000 KiB");
  EXPECT_EQ(human_size(1ULL << 30), "1 GiB");
  EXPECT_EQ(human_size(1ULL << 50), "1 PiB");
}

TEST(HumanSize, NeverShrinksAsBytesGrow) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double before = -1;
  for (std::uint64_t bytes = 0; bytes < (1ULL << 62); bytes = bytes + bytes / 37 + 1) {
    std::istringstream in(human_size(bytes));
    double number = 0;
    std::string unit;
    in >> number >> unit;
    double value = number;
    for (int i = 0; unit != units[i]; ++i) {
      ASSERT_LT(i, 6) << human_size(bytes);
      value *= 1024;
    }
    EXPECT_GE(value, before * 0.9999) << bytes;
    EXPECT_NEAR(value, static_cast<double>(bytes), static_cast<double>(bytes) * 0.05) << bytes;
    before = value;
  }
}

TEST(HumanDuration, ChangesUnitsWhereTheyAreFull) {
  EXPECT_EQ(human_duration(0), "0 ms");
  EXPECT_EQ(human_duration(1000), "1.0 s");
  EXPECT_EQ(human_duration(59'999), "59.9 s") << "not 60.0 s";
  EXPECT_EQ(human_duration(60'000), "1m");
  EXPECT_EQ(human_duration(61'000), "1m 1s");
  EXPECT_EQ(human_duration(3'599'999), "59m 59s");
  EXPECT_EQ(human_duration(3'600'000), "1h");
  EXPECT_EQ(human_duration(86'399'999), "23h 59m");
  EXPECT_EQ(human_duration(86'400'000), "1d");
  EXPECT_EQ(human_duration(UINT64_MAX).back(), 'h');
}

TEST(HumanCount, SeparatesThousands) {
  EXPECT_EQ(human_count(0), "0");
  EXPECT_EQ(human_count(1000), "1,000");
  EXPECT_EQ(human_count(123456), "123,456");
  EXPECT_EQ(human_count(UINT64_MAX), "18,446,744,073,709,551,615");
}

TEST(UtcTime, ReadsWellAndSurvivesAnyNumber) {
  EXPECT_EQ(utc_time(0), "1970-01-01 00:00:00 UTC");
  EXPECT_EQ(utc_time(1'795'251'893'999), "2026-11-21 09:04:53 UTC");
  EXPECT_EQ(utc_time(951'782'400'000), "2000-02-29 00:00:00 UTC");
  for (std::int64_t extreme :
       {std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()})
    EXPECT_FALSE(utc_time(extreme).empty());
}

TEST(UtcTime, BeforeTheEpochIsBeforeIt) { EXPECT_EQ(utc_time(-1), "1969-12-31 23:59:59 UTC"); }

}  // namespace
}  // namespace rillfs::cmd
