#include "cmd/progress_bar.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "cmd/printable.h"
#include "cmd/table.h"

namespace rillfs::cmd {

std::string bar_text(std::uint64_t done, std::uint64_t total, std::size_t width) {
  double share = total == 0 ? 0 : static_cast<double>(std::min(done, total)) / static_cast<double>(total);
  auto cells = static_cast<std::size_t>(share * static_cast<double>(width));
  std::string percent = std::to_string(static_cast<int>(share * 100));
  return "[" + std::string(cells, '#') + std::string(width - cells, '-') + "] " +
         std::string(3 - percent.size(), ' ') + percent + "%";
}

ProgressBar::ProgressBar(const std::string& title, bool quiet)
    : title_(printable(title)),
      enabled_(!quiet && isatty(STDERR_FILENO) == 1),
      started_(std::chrono::steady_clock::now()),
      next_(started_) {}

ProgressBar::~ProgressBar() {
  if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
}

void ProgressBar::update(std::uint64_t done, std::uint64_t total) {
  auto now = std::chrono::steady_clock::now();
  if (!enabled_ || (now < next_ && done < total)) return;
  next_ = now + std::chrono::milliseconds(100);
  drawn_ = true;
  std::cerr << "\r\x1b[K" << title_ << " " << bar_text(done, total, 40);
  auto elapsed = std::chrono::duration<double, std::milli>(now - started_).count();
  if (done > 0 && done < total && elapsed > 1000)
    std::cerr << "  "
              << human_duration(static_cast<std::uint64_t>(elapsed * static_cast<double>(total - done) /
                                                           static_cast<double>(done)))
              << " left";
  std::cerr << std::flush;
}

}  // namespace rillfs::cmd
