// Goal: a peer's clock and timestamps can be anything, and lag is still a number that makes sense.
// Method: the extreme values, which a subtraction overflows with.
#include <gtest/gtest.h>

#include <limits>

#include "replication/stream/replica_progress.h"
#include "replication/stream/replica_record.h"

namespace rillfs::stream {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMin = std::numeric_limits<std::int64_t>::min();
constexpr DatabaseId kId{1};

struct FixedClock final : Clock {
  Monotonic monotonic() const override { return Monotonic(std::chrono::milliseconds(passed_ms)); }
  std::int64_t wall_ms() const override { return 1'700'000'000'000 + passed_ms + jumped_ms; }
  std::int64_t passed_ms = 0;
  std::int64_t jumped_ms = 0;  ///< somebody has set this node's own clock
};

constexpr std::int64_t kYearMs = 365LL * 24 * 3600 * 1000;

ChangeSetInfo change_set(std::int64_t timestamp_ms) {
  return {.post = {Epoch{1}, Txid{5}}, .image_size = 10, .timestamp_ms = timestamp_ms, .log_offset = 10};
}

TEST(HostileClocksTest, AReplicasLagIsNeverNegativeWhateverItsPrimarySays) {
  for (std::int64_t clock_ms : {kMin, std::int64_t{0}, kMax}) {
    for (std::int64_t commit_ms : {kMin, std::int64_t{0}, kMax}) {
      FixedClock clock;
      ReplicaProgress progress(clock);
      progress.connected({});
      wire::Heartbeat heartbeat;
      heartbeat.set_wall_ms(clock_ms);
      progress.heard(heartbeat);
      progress.announced({{kId, "a.db"}, {Epoch{1}, Txid{5}}});
      progress.received(kId, change_set(commit_ms));
      ASSERT_EQ(progress.databases().size(), 1u);
      const std::int64_t lag_ms = progress.databases()[0].lag_ms;
      EXPECT_GE(lag_ms, 1) << clock_ms << " " << commit_ms;
      if (clock_ms == kMax && commit_ms == kMin) {
        EXPECT_EQ(lag_ms, kMax);
      }
      if (clock_ms == kMin && commit_ms == kMax) {
        EXPECT_EQ(lag_ms, 1);
      }
    }
  }
}

TEST(HostileClocksTest, APrimarysViewOfLagSurvivesTimestampsOfItsLog) {
  for (std::int64_t commit_ms : {kMin, kMax}) {
    FixedClock clock;
    ReplicaRecord record(NodeId{1}, "replica", clock);
    const DatabaseState now{{kId, "a.db"}, {Epoch{1}, Txid{5}}, 10};
    record.announced(now);
    record.sent(kId, change_set(commit_ms));
    ASSERT_EQ(record.status({now}).databases.size(), 1u);
    EXPECT_EQ(record.status({now}).databases[0].lag_ms, commit_ms == kMin ? kMax : 1);
  }
}

TEST(HostileClocksTest, SilenceIsMeasuredWithoutTheWallClock) {
  for (std::int64_t jump_ms : {-kYearMs, kYearMs}) {
    FixedClock clock;
    ReplicaProgress progress(clock);
    const DatabaseState state{{kId, "a.db"}, {Epoch{1}, Txid{5}}};
    progress.connected({state});
    progress.announced(state);
    progress.disconnected();
    clock.jumped_ms = jump_ms;
    clock.passed_ms = 3000;
    EXPECT_EQ(progress.databases().at(0).lag_ms, 3000);
  }
}

TEST(HostileClocksTest, AReplicaThatIsGoneIsRememberedAsLongWhereverTheWallClockJumps) {
  for (std::int64_t jump_ms : {-kYearMs, kYearMs}) {
    FixedClock clock;
    ReplicaRecord record(NodeId{1}, "replica", clock);
    record.gone();
    clock.jumped_ms = jump_ms;
    clock.passed_ms = 5000;
    EXPECT_EQ(record.gone_ms(), 5000);
  }
}

TEST(HostileClocksTest, ASnapshotsSpeedIsMeasuredWithoutTheWallClock) {
  for (std::int64_t jump_ms : {-kYearMs, kYearMs}) {
    FixedClock clock;
    ReplicaRecord record(NodeId{1}, "replica", clock);
    const DatabaseState now{{kId, "a.db"}, {Epoch{1}, Txid{5}}, 10};
    record.announced(now);
    record.snapshot_began(kId, {}, 1000, 4096);
    record.snapshot_pages(kId, 100);
    clock.jumped_ms = jump_ms;
    clock.passed_ms = 1000;
    EXPECT_EQ(record.status({now}).databases.at(0).snapshot.bytes_per_second, 409'600u);
  }
}

}  // namespace
}  // namespace rillfs::stream
