// Tables, colours and quantities as a person likes to read them on a terminal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rillfs::cmd {

enum class Colour { kNone, kBold, kDim, kGreen, kYellow, kRed };

/// Whether to colour what is written to `fd`: a terminal, and NO_COLOR unset or empty (https://no-color.org).
bool wants_colour(int fd);
std::string coloured(std::string_view text, Colour colour, bool enabled);

/// Columns as wide as their widest cell, two blanks apart, no trailing blanks.
class Table {
 public:
  struct Column {
    std::string heading;
    bool right = false;  ///< numbers
  };
  struct Cell {
    std::string text;  ///< already printable
    Colour colour = Colour::kNone;
  };
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  std::string render(bool colour) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

/// "0 B", "1.5 KiB", "42 MiB": three significant digits, powers of 1024.
std::string human_size(std::uint64_t bytes);
/// "3 ms", "1.2 s", "5m 3s", "2h 10m", "3d 4h".
std::string human_duration(std::uint64_t ms);
/// "1,234,567".
std::string human_count(std::uint64_t count);
/// "2026-11-21 09:04:53 UTC".
std::string utc_time(std::int64_t wall_ms);

}  // namespace rillfs::cmd
