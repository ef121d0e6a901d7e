#include "cmd/table.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "cmd/printable.h"

namespace rillfs::cmd {
namespace {

template <class... Args>
std::string format(const char* pattern, Args... args) {
  std::array<char, 64> buffer{};
  std::snprintf(buffer.data(), buffer.size(), pattern, args...);
  return buffer.data();
}

std::string two_units(std::uint64_t big, char big_unit, std::uint64_t small, char small_unit) {
  std::string out = std::to_string(big) + big_unit;
  return small == 0 ? out : out + " " + std::to_string(small) + small_unit;
}

}  // namespace

bool wants_colour(int fd) {
  const char* no = std::getenv("NO_COLOR");
  return (no == nullptr || *no == '\0') && isatty(fd) == 1;
}

std::string coloured(std::string_view text, Colour colour, bool enabled) {
  constexpr std::array<std::string_view, 6> kCodes = {"", "1", "2", "32", "33", "31"};
  if (!enabled || colour == Colour::kNone || text.empty()) return std::string(text);
  return "\x1b[" + std::string(kCodes[static_cast<std::size_t>(colour)]) + "m" + std::string(text) +
         "\x1b[0m";
}

std::string Table::render(bool colour) const {
  std::vector<std::size_t> widths;
  for (const Column& column : columns_) widths.push_back(width_of(column.heading));
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i].text));

  auto line = [&](const std::vector<Cell>& row) {
    std::string out;
    std::size_t owed = 0;  // blanks, written only when something follows them
    for (std::size_t i = 0; i < row.size(); ++i) {
      std::size_t gap = widths[i] - width_of(row[i].text);
      if (columns_[i].right) owed += gap;
      if (!row[i].text.empty()) {
        out += std::string(owed, ' ') + coloured(row[i].text, row[i].colour, colour);
        owed = 0;
      }
      owed += columns_[i].right ? 2 : gap + 2;
    }
    return out + "\n";
  };
  std::vector<Cell> headings;
  for (const Column& column : columns_) headings.push_back({column.heading, Colour::kDim});
  std::string out = line(headings);
  for (const auto& row : rows_) out += line(row);
  return out;
}

std::string human_size(std::uint64_t bytes) {
  constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  bool whole = unit == 0 || value >= 99.95 || value == static_cast<double>(static_cast<std::uint64_t>(value));
  return format(whole ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
}

std::string human_duration(std::uint64_t ms) {
  std::uint64_t s = ms / 1000;
  if (ms < 1000) return std::to_string(ms) + " ms";
  const std::uint64_t tenths = ms / 100;
  if (s < 60) return format("%.1f s", static_cast<double>(tenths) / 10);
  if (s < 3600) return two_units(s / 60, 'm', s % 60, 's');
  if (s < 86400) return two_units(s / 3600, 'h', s / 60 % 60, 'm');
  return two_units(s / 86400, 'd', s / 3600 % 24, 'h');
}

std::string human_count(std::uint64_t count) {
  std::string out = std::to_string(count);
  for (std::size_t at = out.size(); at > 3;) out.insert(at -= 3, 1, ',');
  return out;
}

std::string utc_time(std::int64_t wall_ms) {
  const std::int64_t started = wall_ms % 1000 < 0 ? 1 : 0;  // before 1970 a second begins below
  std::time_t seconds = static_cast<std::time_t>(wall_ms / 1000 - started);
  std::tm parts{};
  std::array<char, 64> buffer{};
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
    return std::to_string(wall_ms) + " ms";
  return buffer.data();
}

}  // namespace rillfs::cmd
