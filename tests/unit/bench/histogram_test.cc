// Goal: percentiles that are the true ones, but for the width of a bucket. Method: compared with sorted
// values.
#include "tests/bench/generator/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace rillfs::bench {
namespace {

std::int64_t true_percentile(const std::vector<std::int64_t>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

TEST(Histogram, OfNothingIsNothing) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.percentile(0.5), 0);
  EXPECT_EQ(histogram.max(), 0);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_TRUE(histogram.buckets().empty());
}

TEST(Histogram, SmallValuesAreExact) {
  Histogram histogram;
  for (int ns = 0; ns < 256; ++ns) histogram.record(ns);
  for (int ns = 0; ns < 256; ++ns) EXPECT_EQ(histogram.percentile((ns + 1) / 256.0), ns);
}

TEST(Histogram, PercentilesAreAtMostABucketTooHighAndNeverTooLow) {
  std::mt19937_64 random(7);
  std::lognormal_distribution<double> latencies(10, 3);
  Histogram histogram;
  std::vector<std::int64_t> values;
  double sum = 0;
  for (int i = 0; i < 100'000; ++i) {
    values.push_back(static_cast<std::int64_t>(latencies(random)));
    sum += static_cast<double>(values.back());
    histogram.record(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.0, 0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.99999, 1.0}) {
    const std::int64_t expected = true_percentile(values, share);
    EXPECT_GE(histogram.percentile(share), expected) << share;
    EXPECT_LE(static_cast<double>(histogram.percentile(share)), static_cast<double>(expected) * 1.008 + 1)
        << share;
  }
  EXPECT_EQ(histogram.min(), values.front());
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_NEAR(histogram.mean(), sum / 100'000, 1);
}

TEST(Histogram, WhatIsBeyondItsRangeIsCountedInTheLastBucketAndMaxIsExact) {
  Histogram histogram;
  histogram.record(std::int64_t{1} << 50);
  histogram.record(-5);
  EXPECT_EQ(histogram.count(), 2U);
  EXPECT_EQ(histogram.min(), 0);
  EXPECT_EQ(histogram.max(), std::int64_t{1} << 50);
}

TEST(Histogram, AddedUpIsAsIfRecordedInOne) {
  Histogram one;
  Histogram left;
  Histogram right;
  for (std::int64_t i = 1; i < 1000; ++i) {
    one.record(i * i);
    (i % 3 == 0 ? left : right).record(i * i);
  }
  left.add(right);
  left.add(Histogram());
  EXPECT_EQ(left.count(), one.count());
  EXPECT_EQ(left.min(), one.min());
  EXPECT_EQ(left.max(), one.max());
  for (double share = 0; share <= 1; share += 0.01) EXPECT_EQ(left.percentile(share), one.percentile(share));
}

TEST(Histogram, BucketsAreInOrderAndHoldEverything) {
  Histogram histogram;
  for (std::int64_t i = 1; i < 1'000'000'000; i = i * 3 + 1) histogram.record(i);
  std::uint64_t count = 0;
  std::int64_t last = -1;
  for (const auto& bucket : histogram.buckets()) {
    EXPECT_GT(bucket.up_to_ns, last);
    last = bucket.up_to_ns;
    count += bucket.count;
  }
  EXPECT_EQ(count, histogram.count());
}

}  // namespace
}  // namespace rillfs::bench
