#include "tests/bench/generator/schedule.h"

namespace rillfs::bench {

std::int64_t Schedule::time_of(std::uint64_t number) const {
  // From the number, not by adding intervals: rounding errors would add up.
  return begin_ns_ + static_cast<std::int64_t>(static_cast<double>(number) * 1e9 / rate_);
}

std::int64_t Schedule::next(std::int64_t now_ns) {
  if (!is_open()) return now_ns;
  const std::int64_t at = time_of(next_);
  next_ += workers_;
  return at;
}

std::uint64_t Schedule::left_before(std::int64_t end_ns) const {
  if (!is_open()) return 0;
  std::uint64_t left = 0;
  for (std::uint64_t number = next_; time_of(number) < end_ns; number += workers_) ++left;
  return left;
}

}  // namespace rillfs::bench
