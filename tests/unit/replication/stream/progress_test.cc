// Goal: lag is never shown too small and costs bounded memory. Method: a clock that the test moves.
#include "replication/stream/progress.h"

#include <gtest/gtest.h>

#include "replication/stream/replica_progress.h"

namespace rillfs::stream {

namespace {

class ManualClock final : public Clock {
 public:
  Monotonic monotonic() const override { return Monotonic(std::chrono::milliseconds(now_ms)); }
  std::int64_t wall_ms() const override { return now_ms + jumped_ms; }
  std::int64_t now_ms = 1'000'000;
  std::int64_t jumped_ms = 0;
};

DatabaseState state_at(std::uint64_t txid) {
  return {{DatabaseId{1}, "app.db", 0644, 0, 0}, Position{Epoch{1}, Txid{txid}, Checksum::empty()}, 0};
}

}  // namespace

TEST(PendingChangeSets, MergesBeyondItsLimitKeepingTheOldestTime) {
  PendingChangeSets pending;
  for (std::uint64_t i = 1; i <= 100'000; ++i) pending.add(Txid{i}, static_cast<std::int64_t>(i), i * 10);
  EXPECT_LE(pending.size(), PendingChangeSets::kEntryCountMax);
  EXPECT_EQ(pending.oldest_ms(), 1);
  pending.done(Txid{50'000});
  EXPECT_LE(*pending.oldest_ms(), 50'001);
  EXPECT_LE(pending.done_offset().value_or(0), 500'000u);
  pending.done(Txid{100'000});
  EXPECT_FALSE(pending.oldest_ms());
  EXPECT_EQ(pending.done_offset(), 1'000'000u);
}

TEST(ReplicaProgress, LagGrowsWhileDisconnectedAndIsZeroWhenAllIsApplied) {
  ManualClock clock;
  ReplicaProgress progress(clock);
  progress.connected({state_at(5)});
  progress.announced(state_at(5));
  progress.catalog_ended();
  EXPECT_TRUE(progress.caught_up());
  EXPECT_EQ(progress.databases().at(0).lag_ms, 0);
  progress.disconnected();
  clock.now_ms += 7000;
  EXPECT_EQ(progress.databases().at(0).lag_ms, 7000);
}

TEST(ReplicaProgress, LagIsMeasuredOnThePrimarysClock) {
  ManualClock clock;
  ReplicaProgress progress(clock);
  progress.connected({state_at(5)});
  progress.announced(state_at(5));
  wire::Heartbeat heartbeat;
  heartbeat.set_wall_ms(clock.now_ms + 60'000);
  progress.heard(heartbeat);
  ChangeSetInfo info{state_at(5).position, state_at(6).position, 10, clock.now_ms + 60'000 - 300, 100};
  progress.received(DatabaseId{1}, info);
  EXPECT_EQ(progress.databases().at(0).lag_ms, 300);
  EXPECT_EQ(progress.databases().at(0).lag_transactions, 1u);
  progress.progressed({DatabaseId{1}, info.post, info.post});
  EXPECT_EQ(progress.databases().at(0).lag_ms, 0);
}

TEST(ReplicaProgress, IsNotCaughtUpBeforeADivergedDatabaseIsReplaced) {
  ManualClock clock;
  ReplicaProgress progress(clock);
  progress.connected({state_at(9)});
  progress.announced(state_at(5));
  progress.catalog_ended();
  EXPECT_FALSE(progress.caught_up());
  progress.snapshot_began(DatabaseId{1}, 10, 4096);
  progress.snapshot_ended(DatabaseId{1}, state_at(5).position, true);
  EXPECT_TRUE(progress.caught_up());
}

}  // namespace rillfs::stream
