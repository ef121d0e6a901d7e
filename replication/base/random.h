// The randomness seam: production takes the kernel's, tests and the simulator a seeded generator.
#pragma once

#include <sys/random.h>

#include <cstdint>
#include <random>
#include <stdexcept>

namespace rillfs {

class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;
  /// An identity: never 0, which means "none" everywhere.
  std::uint64_t next_id() {
    for (;;) {
      if (std::uint64_t id = next()) return id;
    }
  }
};

/// Threads: any.
class SystemRandom final : public Random {
 public:
  std::uint64_t next() override {
    std::uint64_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value) throw std::runtime_error("getrandom failed");
    return value;
  }
};

/// Reproducible from its seed. Threads: one.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace rillfs
