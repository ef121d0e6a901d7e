// What workers measure. Plain memory without pointers: it is shared between processes.
#pragma once

#include <array>
#include <cstdint>

#include "tests/bench/generator/histogram.h"

namespace rillfs::bench {

enum class Kind { kRead, kScan, kWrite };
constexpr std::size_t kKinds = 3;
constexpr std::array<const char*, kKinds> kKindNames{"read", "scan", "write"};

struct Measured {
  Histogram latency;  // from the intended start
  Histogram service;  // from the actual start
};

struct Results {
  std::array<Measured, kKinds> kinds{};
  std::uint64_t locked = 0;       // attempts that ended because the busy timeout was over; each was repeated
  std::uint64_t not_started = 0;  // transactions that the rate asked for and that there was no time for
  std::int64_t begin_ns = 0;
  std::int64_t end_ns = 0;

  void add(const Results& other);
  std::uint64_t transactions() const;
  double seconds() const { return static_cast<double>(end_ns - begin_ns) / 1e9; }
};

}  // namespace rillfs::bench
