// A bar on stderr while something long goes on; silent unless stderr is a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace rillfs::cmd {

class ProgressBar {
 public:
  ProgressBar(const std::string& title, bool quiet);
  ~ProgressBar();  ///< clears the line
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Draws at most ten times a second.
  void update(std::uint64_t done, std::uint64_t total);

 private:
  std::string title_;
  bool enabled_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point started_, next_;
};

/// "[######----]  60%": `width` cells between the brackets.
std::string bar_text(std::uint64_t done, std::uint64_t total, std::size_t width);

}  // namespace rillfs::cmd
