// The clock seam: production reads the kernel's clocks, tests and the simulator move their own.
#pragma once

#include <chrono>
#include <cstdint>

namespace rillfs {

using Duration = std::chrono::nanoseconds;
/// A reading of the monotonic clock: good for differences and deadlines within one process only.
using Monotonic = std::chrono::time_point<std::chrono::steady_clock, Duration>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Monotonic monotonic() const = 0;
  /// Milliseconds since the Unix epoch. May jump; never used for deadlines.
  virtual std::int64_t wall_ms() const = 0;
  /// `monotonic` in milliseconds.
  std::int64_t elapsed_ms() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(monotonic().time_since_epoch()).count();
  }
};

class SystemClock final : public Clock {
 public:
  Monotonic monotonic() const override { return std::chrono::steady_clock::now(); }
  std::int64_t wall_ms() const override {
    using namespace std::chrono;
    return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
  }
};

}  // namespace rillfs
