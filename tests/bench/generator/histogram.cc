#include "tests/bench/generator/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace rillfs::bench {

std::size_t Histogram::index_of(std::uint64_t ns) {
  if (ns < kStep) return ns;
  // The highest bit says which power of two, the seven bits after it where in there.
  const auto magnitude = static_cast<std::size_t>(std::bit_width(ns)) - kBits;
  if (magnitude > kMagnitudes) return kStep * (kMagnitudes + 1) - 1;
  return kStep * magnitude + ((ns >> (magnitude - 1)) & (kStep - 1));
}

std::int64_t Histogram::upper_end(std::size_t index) {
  if (index < kStep) return static_cast<std::int64_t>(index);
  const std::size_t magnitude = index / kStep;
  return static_cast<std::int64_t>(((kStep + index % kStep + 1) << (magnitude - 1)) - 1);
}

void Histogram::record(std::int64_t ns) {
  ns = std::max<std::int64_t>(ns, 0);
  ++counts_[index_of(static_cast<std::uint64_t>(ns))];
  min_ = count_ == 0 ? ns : std::min(min_, ns);
  max_ = std::max(max_, ns);
  sum_ += static_cast<double>(ns);
  ++count_;
}

void Histogram::add(const Histogram& other) {
  if (other.count_ == 0) return;
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
  min_ = count_ == 0 ? other.min_ : std::min(min_, other.min_);
  max_ = std::max(max_, other.max_);
  sum_ += other.sum_;
  count_ += other.count_;
}

std::int64_t Histogram::percentile(double share) const {
  const auto rank =
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_))));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    seen += counts_[i];
    if (seen >= rank) return std::min(upper_end(i), max_);
  }
  return max_;
}

std::vector<Histogram::Bucket> Histogram::buckets() const {
  std::vector<Bucket> found;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] != 0) found.push_back({std::min(upper_end(i), max_), counts_[i]});
  }
  return found;
}

}  // namespace rillfs::bench
