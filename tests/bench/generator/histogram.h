// Latencies in buckets of equal relative width, as HdrHistogram has them: exact up to 127 ns, then 128
// buckets for each power of two, so that a percentile is at most 0.8 % above the true one. Of a fixed size
// and without pointers, so that it can lie in memory that processes share. Threads: one at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rillfs::bench {

class Histogram {
 public:
  void record(std::int64_t ns);
  void add(const Histogram& other);

  std::uint64_t count() const { return count_; }
  std::int64_t min() const { return count_ == 0 ? 0 : min_; }
  std::int64_t max() const { return max_; }
  double mean() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_); }
  /// The smallest recorded value (its bucket's upper end, never above max) that `share` of all values do not
  /// exceed; 0 of none. share: 0 to 1.
  std::int64_t percentile(double share) const;

  struct Bucket {
    std::int64_t up_to_ns;
    std::uint64_t count;
  };
  /// Those that are not empty, in order.
  std::vector<Bucket> buckets() const;

 private:
  static constexpr int kBits = 7;
  static constexpr std::size_t kStep = std::size_t{1} << kBits;
  static constexpr int kMagnitudes = 34;  // the last one ends at 2^41 ns, 36 minutes
  static std::size_t index_of(std::uint64_t ns);
  static std::int64_t upper_end(std::size_t index);

  std::array<std::uint64_t, kStep*(kMagnitudes + 1)> counts_{};
  std::uint64_t count_ = 0;
  std::int64_t min_ = 0;
  std::int64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace rillfs::bench
