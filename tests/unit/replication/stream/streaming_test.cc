// Goal: what the primary commits reaches the replica, in order and whole, through everything that happens to
// connections and logs. Method: publisher and subscriber over loopback, databases in memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>

#include "unit/support/stream_ends.h"

namespace rillfs::stream {

using namespace rillfs::testing;

class Streaming : public ::testing::Test {
 protected:
  void connect() {
    primary.start();
    replica.start(primary.publisher->address());
  }
  PrimaryEnd primary;
  ReplicaEnd replica;
};

TEST_F(Streaming, SendsASnapshotAndThenEveryCommit) {
  auto id = primary.source.create("app.db", 300);
  primary.source.commit(id, "before");
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  for (int i = 0; i < 100; ++i) primary.source.commit(id, "commit " + std::to_string(i));
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  auto database = replica.sink.databases()[id];
  EXPECT_EQ(database.info.path, "app.db");
  ASSERT_EQ(database.pages.size(), 300u);
  auto cursor = primary.source.snapshot(id).value();
  while (auto page = cursor->next().value())
    ASSERT_TRUE(std::ranges::equal(database.pages[page->pgno.value], page->data)) << page->pgno.value;
}

TEST_F(Streaming, FollowsFromWhereTheReplicaStoodAfterAReconnect) {
  auto id = primary.source.create("app.db", 10);
  connect();
  primary.source.commit(id, "one");
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.stop();
  for (int i = 0; i < 50; ++i) primary.source.commit(id, "while away");
  replica.start(primary.publisher->address());
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  EXPECT_EQ(primary.source.snapshot_count(), 1);
}

TEST_F(Streaming, ReconnectsToAPrimaryThatComesBack) {
  auto id = primary.source.create("app.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  primary.options.listen.port = primary.publisher->address().port;
  primary.stop();
  ASSERT_TRUE(eventually([&] { return !replica.subscriber->status().connected; }));
  primary.source.commit(id, "while nobody listens");
  primary.start();
  EXPECT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
}

TEST_F(Streaming, SendsASnapshotWhenRetentionHasRemovedWhatComesNext) {
  auto id = primary.source.create("app.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.stop();
  // Else the old connection may still find the log truncated, and begin a snapshot of its own.
  ASSERT_TRUE(eventually([&] { return !primary.publisher->status().at(0).connected; }));
  primary.source.commit(id, "one");
  primary.source.truncate_log(id);
  primary.source.commit(id, "two");
  replica.start(primary.publisher->address());
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  EXPECT_EQ(primary.source.snapshot_count() + primary.source.difference_count(), 2);
}

TEST_F(Streaming, ManyDatabasesArriveWhole) {
  std::vector<DatabaseId> ids;
  for (int i = 0; i < 200; ++i) ids.push_back(primary.source.create("tenants/" + std::to_string(i), 3));
  connect();
  for (int round = 0; round < 5; ++round)
    for (auto id : ids) primary.source.commit(id, std::string(100 + id.value, 'x'));
  for (auto id : ids) ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
}

TEST_F(Streaming, LargeChangeSetsAreSpooledAndLeaveNoFile) {
  replica.options.image_memory_max = 1000;
  auto id = primary.source.create("app.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  std::string image(3'000'000, 'a');
  for (std::size_t i = 0; i < image.size(); i += 7) image[i] = static_cast<char>(i);
  primary.source.commit(id, image);
  primary.source.commit(id, "small");
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  auto events = replica.sink.events();
  EXPECT_EQ(std::ranges::count(events, "spooled"), 1);
  replica.stop();
  EXPECT_TRUE(std::filesystem::is_empty(replica.sink.spool_directory()));
}

TEST_F(Streaming, CreatedRenamedAndDroppedDatabasesFollowInOrder) {
  auto old = primary.source.create("app.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(old, primary.source.position(old)));
  primary.source.drop(old);
  auto fresh = primary.source.create("new.db", 1);
  primary.source.rename(fresh, "app.db");
  ASSERT_TRUE(replica.sink.wait([&](auto& databases, auto&) {
    return databases.size() == 1 && databases.begin()->first == fresh && databases.begin()->second.complete &&
           databases.begin()->second.info.path == "app.db";
  }));
}

TEST_F(Streaming, DropsWhatThePrimaryDroppedWhileTheReplicaWasAway) {
  auto gone = primary.source.create("gone.db", 1);
  auto kept = primary.source.create("kept.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(gone, primary.source.position(gone)));
  ASSERT_TRUE(replica.sink.wait_position(kept, primary.source.position(kept)));
  replica.stop();
  primary.source.drop(gone);
  replica.start(primary.publisher->address());
  EXPECT_TRUE(replica.sink.wait([&](auto& databases, auto&) { return !databases.contains(gone); }));
  EXPECT_TRUE(replica.sink.databases().contains(kept));
  EXPECT_TRUE(
      replica.sink.wait([](auto&, auto& events) { return std::ranges::count(events, "drop gone.db") == 1; }));
}

TEST_F(Streaming, KeepsAsideWhatThePrimaryHasLost) {
  auto lost = primary.source.create("lost.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(lost, primary.source.position(lost)));
  replica.stop();
  primary.source.lose(lost);
  replica.start(primary.publisher->address());
  EXPECT_TRUE(replica.sink.wait(
      [](auto&, auto& events) { return std::ranges::count(events, "park and drop lost.db") == 1; }));
}

TEST_F(Streaming, DropsLaterWhatCouldNotBeDropped) {
  primary.options.session.heartbeat_interval = std::chrono::milliseconds(20);
  auto id = primary.source.create("app.db", 3);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.sink.fail_drops(3);
  primary.source.drop(id);
  EXPECT_TRUE(
      replica.sink.wait([](auto&, auto& events) { return std::ranges::count(events, "drop app.db") == 1; }));
  EXPECT_EQ(std::ranges::count(replica.sink.events(), "keep app.db"), 3);
  EXPECT_TRUE(replica.subscriber->status().connected);
}

TEST_F(Streaming, AsksForWhatDiffersWhenTheOwnerSaysThatItsCopyIsDamaged) {
  auto id = primary.source.create("app.db", 10);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.subscriber->resync(id);
  ASSERT_TRUE(eventually([&] { return primary.source.difference_count() == 1; }));
  primary.source.commit(id, "afterwards");
  EXPECT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
}

TEST_F(Streaming, AsksForThatOnceItIsConnected) {
  auto id = primary.source.create("app.db", 10);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  primary.options.listen.port = primary.publisher->address().port;
  primary.stop();
  ASSERT_TRUE(eventually([&] { return !replica.subscriber->status().connected; }));
  replica.subscriber->resync(id);
  primary.start();
  EXPECT_TRUE(eventually([&] { return primary.source.difference_count() == 1; }));
}

TEST_F(Streaming, AsksForASnapshotWhenAChangeSetDoesNotFit) {
  for (ErrorCode code : {ErrorCode::kPositionMismatch, ErrorCode::kCorrupt, ErrorCode::kIo}) {
    auto id = primary.source.create("app.db" + std::to_string(static_cast<int>(code)), 5);
    if (!primary.publisher) connect();
    ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
    int before = primary.source.difference_count();
    replica.sink.fail_next({code});
    primary.source.commit(id, "refused");
    primary.source.commit(id, "passed over");
    ASSERT_TRUE(eventually([&] { return primary.source.difference_count() > before; }));
    ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  }
}

TEST_F(Streaming, AsksForNothingWhereNothingCanBeTaken) {
  auto id = primary.source.create("app.db", 5), other = primary.source.create("other.db", 5);
  connect();
  for (DatabaseId one : {id, other})
    ASSERT_TRUE(replica.sink.wait_position(one, primary.source.position(one)));
  replica.sink.fail_next({ErrorCode::kClosed});
  primary.source.commit(id, "refused");
  ASSERT_TRUE(replica.sink.wait(
      [](auto&, auto& events) { return std::ranges::count(events, "refuse app.db") == 1; }));
  primary.source.commit(id, "passed over");
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_EQ(primary.source.difference_count(), 0);
  EXPECT_EQ(primary.source.snapshot_count(), 2);
  primary.source.commit(other, "taken");
  EXPECT_TRUE(replica.sink.wait_position(other, primary.source.position(other)));
}

TEST_F(Streaming, WaitsForRoomAndGoesOnWithoutASnapshot) {
  auto id = primary.source.create("app.db", 5);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.sink.fail_next({ErrorCode::kNoSpace, ErrorCode::kNoSpace, ErrorCode::kNoSpace});
  primary.source.commit(id, "no room at first");
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  EXPECT_EQ(primary.source.snapshot_count(), 1);
}

TEST_F(Streaming, TriesAgainSoonWhileADatabaseIsBeingMade) {
  replica.options.retry_delay = std::chrono::hours(1);  // that of a full disk
  auto id = primary.source.create("app.db", 5);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.sink.fail_next({ErrorCode::kBusy, ErrorCode::kBusy, ErrorCode::kBusy});
  primary.source.commit(id, "busy at first");
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  EXPECT_EQ(primary.source.snapshot_count(), 1);
}

TEST_F(Streaming, ASlowReplicaHoldsNoMoreThanItsBudget) {
  replica.options.unprocessed_size_max = 1 << 20;
  auto slow = primary.source.create("slow.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(slow, primary.source.position(slow)));
  replica.sink.hold(slow);
  for (int i = 0; i < 400; ++i) primary.source.commit(slow, std::string(50'000, static_cast<char>(i)));
  ASSERT_TRUE(eventually([&] { return replica.subscriber->status().unprocessed_size > 1 << 20; }));
  replica.sink.let_go();
  ASSERT_TRUE(replica.sink.wait_position(slow, primary.source.position(slow)));
  EXPECT_LE(replica.subscriber->status().unprocessed_size_peak,
            (1u << 20) + wire::kPayloadSizeMax + wire::kMessageSizeMax);
  EXPECT_TRUE(eventually([&] { return replica.subscriber->status().unprocessed_size == 0; }));
}

TEST_F(Streaming, ADatabaseThatIsHeldUpDoesNotHoldUpAnother) {
  auto stuck = primary.source.create("stuck.db", 1);
  auto other = primary.source.create("other.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(stuck, primary.source.position(stuck)));
  ASSERT_TRUE(replica.sink.wait_position(other, primary.source.position(other)));
  replica.sink.hold(stuck);
  primary.source.commit(stuck, "waits");
  primary.source.commit(other, "passes");
  EXPECT_TRUE(replica.sink.wait_position(other, primary.source.position(other)));
}

TEST_F(Streaming, SaysWhenEverythingOfTheFirstConnectionIsApplied) {
  auto id = primary.source.create("app.db", 100);
  primary.source.create("empty.db", 0);
  primary.source.commit(id, "one");
  primary.start();
  replica.sink.hold(id);
  replica.start(primary.publisher->address());
  std::promise<void> done;
  replica.subscriber->when_caught_up([&] { done.set_value(); });
  ASSERT_TRUE(replica.sink.wait([](auto&, auto& events) { return !events.empty(); }));
  EXPECT_FALSE(replica.subscriber->status().caught_up);
  replica.sink.let_go();
  ASSERT_EQ(done.get_future().wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_TRUE(replica.sink.databases()[id].complete);
  EXPECT_TRUE(replica.subscriber->status().caught_up);
}

TEST_F(Streaming, BothEndsKnowPositionsAndLag) {
  auto id = primary.source.create("app.db", 1);
  connect();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  replica.sink.hold(id);
  primary.source.commit(id, "12345", primary.clock.wall_ms() - 5000);
  primary.source.commit(id, "67890", primary.clock.wall_ms());
  auto on_primary = [&] {
    auto status = primary.publisher->status();
    return status.empty() || status[0].databases.empty() ? DatabaseProgress{} : status[0].databases[0];
  };
  auto on_replica = [&] {
    auto status = replica.subscriber->status();
    return status.databases.empty() ? DatabaseProgress{} : status.databases[0];
  };
  EXPECT_TRUE(eventually([&] { return on_primary().lag_transactions == 2 && on_primary().lag_ms >= 5000; }));
  EXPECT_EQ(on_primary().lag_bytes, 10u);
  EXPECT_TRUE(eventually([&] { return on_replica().lag_transactions == 2 && on_replica().lag_ms >= 4000; }));
  replica.sink.let_go();
  EXPECT_TRUE(eventually([&] { return on_primary().applied == Txid{2} && on_primary().lag_ms == 0; }));
  EXPECT_TRUE(eventually([&] { return on_replica().applied == Txid{2} && on_replica().lag_ms == 0; }));
  replica.stop();
  EXPECT_TRUE(eventually([&] { return !primary.publisher->status()[0].connected; }));
}

}  // namespace rillfs::stream
