// Goal: a replica that has a copy gets the pages that are different and no others, ends equal, and neither
// side is hurt by one that breaks the rules. Method: publisher and subscriber over loopback, databases in
// memory; for the rule breakers, a peer that the test speaks for.
#include <gtest/gtest.h>

#include "replication/stream/page_sums_answer.h"
#include "unit/support/stream_ends.h"

namespace rillfs::stream {

using namespace rillfs::testing;

class Difference : public ::testing::Test {
 protected:
  void make(std::uint32_t page_count) {
    id = primary.source.create("app.db", page_count);
    primary.start();
    replica.start(primary.publisher->address());
    ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  }
  void stop_replica() {
    replica.stop();
    ASSERT_TRUE(eventually([&] { return !primary.publisher->status().at(0).connected; }));
  }
  /// What the replica has is not in the log any more.
  void lose_log() {
    primary.source.commit(id, "while away");
    primary.source.truncate_log(id);
    primary.source.commit(id, "kept");
  }
  void return_replica() {
    replica.start(primary.publisher->address());
    ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  }
  void expect_equal(std::uint32_t page_count) {
    auto pages = replica.sink.databases()[id].pages;
    ASSERT_EQ(pages.size(), page_count);
    for (const auto& [pgno, page] : pages) ASSERT_EQ(page, primary.source.page(id, pgno)) << pgno;
  }
  std::uint32_t received() { return replica.sink.databases()[id].received; }

  PrimaryEnd primary;
  ReplicaEnd replica;
  DatabaseId id;
};

TEST_F(Difference, MovesNoPageWhereAllAreEqual) {
  make(3000);
  stop_replica();
  lose_log();
  return_replica();
  expect_equal(3000);
  EXPECT_EQ(received(), 0u);
  EXPECT_EQ(primary.source.snapshot_count(), 1);
  EXPECT_EQ(primary.source.difference_count(), 1);
}

TEST_F(Difference, MovesTheFewPagesThatDiffer) {
  make(40000);  // more than one window
  stop_replica();
  for (std::uint32_t pgno : {1, 2, 17, 4096, 32768, 32769, 40000}) primary.source.change_page(id, pgno);
  lose_log();
  return_replica();
  expect_equal(40000);
  EXPECT_EQ(received(), 7u);
}

TEST_F(Difference, MovesEveryPageWhereAllDiffer) {
  make(500);
  stop_replica();
  for (std::uint32_t pgno = 1; pgno <= 500; ++pgno) primary.source.change_page(id, pgno);
  lose_log();
  return_replica();
  expect_equal(500);
  EXPECT_EQ(received(), 500u);
}

TEST_F(Difference, DatabaseThatShrankOrGrewEndsAtItsSize) {
  make(500);
  for (std::uint32_t count : {37, 600}) {
    stop_replica();
    primary.source.resize(id, count);
    lose_log();
    return_replica();
    expect_equal(count);
    EXPECT_EQ(received(), count < 500 ? 0 : count - 37);
  }
}

TEST_F(Difference, AnotherPageSizeNeedsAWholeSnapshot) {
  make(50);
  stop_replica();
  primary.source.set_page_size(id, 1024);
  lose_log();
  return_replica();
  expect_equal(50);
  EXPECT_EQ(primary.source.snapshot_count(), 2);
}

TEST_F(Difference, EmptiedDatabaseOfAnotherPageSizeArrivesThoughThereIsNothingToAsk) {
  make(50);
  stop_replica();
  primary.source.set_page_size(id, 1024);
  primary.source.resize(id, 0);
  lose_log();
  return_replica();
  expect_equal(0);
  EXPECT_EQ(primary.source.difference_count(), 1);
  EXPECT_EQ(primary.source.snapshot_count(), 2);
}

TEST_F(Difference, CommitsMeanwhileFollow) {
  make(3000);
  stop_replica();
  primary.source.change_page(id, 5);
  lose_log();
  replica.sink.hold(id);
  replica.start(primary.publisher->address());
  ASSERT_TRUE(eventually([&] { return primary.source.difference_count() == 1; }));
  for (int i = 0; i < 20; ++i) primary.source.commit(id, "meanwhile " + std::to_string(i));
  primary.source.change_page(id, 2900);
  replica.sink.let_go();
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  expect_equal(3000);
  EXPECT_EQ(received(), 2u);
}

TEST_F(Difference, ThatDoesNotBecomeExactIsFollowedByAWholeSnapshot) {
  make(100);
  stop_replica();
  lose_log();
  replica.sink.hold(id);
  replica.start(primary.publisher->address());
  ASSERT_TRUE(eventually([&] { return primary.source.difference_count() == 1; }));
  primary.source.commit(id, "refused");
  replica.sink.fail_next({ErrorCode::kCorrupt});
  replica.sink.let_go();
  ASSERT_TRUE(eventually([&] { return primary.source.snapshot_count() == 2; }));
  ASSERT_TRUE(replica.sink.wait_position(id, primary.source.position(id)));
  expect_equal(100);
  EXPECT_EQ(primary.source.difference_count(), 1);
}

TEST_F(Difference, MoreDatabasesThanOpenQuestionsAllArrive) {
  make(20);
  std::vector<DatabaseId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(primary.source.create("tenants/" + std::to_string(i), 20));
  for (DatabaseId one : ids) ASSERT_TRUE(replica.sink.wait_position(one, primary.source.position(one)));
  stop_replica();
  for (DatabaseId one : ids) {
    primary.source.change_page(one, 7);
    primary.source.commit(one, "lost");
    primary.source.truncate_log(one);
  }
  replica.start(primary.publisher->address());
  for (DatabaseId one : ids) {
    ASSERT_TRUE(replica.sink.wait([&](auto& databases, auto&) {
      return databases[one].complete && databases[one].received == 1 &&
             databases[one].position.same_place(primary.source.position(one));
    }));
  }
  EXPECT_EQ(primary.source.difference_count(), 50);
}

TEST_F(Difference, ShowsAsASnapshotWhosePagesAreSettledOneWindowAfterTheOther) {
  make(40000);
  stop_replica();
  lose_log();
  return_replica();
  auto status = primary.publisher->status().at(0);
  EXPECT_TRUE(eventually([&] { return !primary.publisher->status().at(0).databases.at(0).snapshot.active; }));
  auto progress = replica.subscriber->status().databases.at(0).snapshot;
  EXPECT_EQ(progress.pages_total, 40000u);
  EXPECT_GE(progress.pages_done, 32768u);
}

// --- peers of an older version, and peers that break the rules

class DifferencePeer : public ::testing::Test {
 protected:
  DifferencePeer() {
    id = primary.source.create("app.db", 100);
    primary.source.commit(id, "content");
    primary.start();
  }
  /// A replica that has another history of the database.
  RawPeer subscriber(std::uint32_t newest_version) {
    RawPeer raw(primary.publisher->address());
    auto hello = hello_of({primary.node->membership().cluster, Epoch{}, Role::kReplica});
    hello.mutable_hello()->set_newest_version(newest_version);
    raw.send(hello);
    EXPECT_TRUE(raw.receive()->message.has_hello());
    auto have = empty_have();
    auto* database = have.mutable_have()->add_databases();
    database->set_id(id.value);
    to_wire(Position{Epoch{1}, Txid{9}, Checksum{Checksum::kFlag | 9}}, database->mutable_logged());
    raw.send(have);
    return raw;
  }
  std::uint64_t question(RawPeer& raw) {
    auto wanted = raw.receive_until([](auto& m) { return m.has_sums_wanted(); });
    return wanted ? wanted->message.sums_wanted().request() : 0;
  }
  void answer(RawPeer& raw, std::uint64_t request, std::uint32_t size) {
    wire::Message message;
    message.mutable_sums()->set_id(id.value);
    message.mutable_sums()->set_request(request);
    message.mutable_sums()->set_size(size);
    raw.send(message, Buffer(size));
  }
  PrimaryEnd primary;
  DatabaseId id;
};

TEST_F(DifferencePeer, OfTheFirstVersionGetsAWholeSnapshot) {
  RawPeer raw = subscriber(0);
  auto begin = raw.receive_until([](auto& m) { return m.has_snapshot_begin(); });
  ASSERT_TRUE(begin);
  EXPECT_FALSE(begin->message.snapshot_begin().difference());
  EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_snapshot_pages(); }));
}

TEST_F(DifferencePeer, ThatHasNothingToCompareGetsAWholeSnapshot) {
  RawPeer raw = subscriber(2);
  answer(raw, question(raw), 0);
  auto begin = raw.receive_until([](auto& m) { return m.has_snapshot_begin(); });
  ASSERT_TRUE(begin);
  EXPECT_FALSE(begin->message.snapshot_begin().difference());
}

TEST_F(DifferencePeer, AnsweringWithSumsForAnotherSizeIsCutOff) {
  for (std::uint32_t size : {8, 6 * 8, 8 * 8, 7 * 8 + 1}) {  // 100 pages are 7 ranges
    RawPeer raw = subscriber(2);
    answer(raw, question(raw), size);
    EXPECT_TRUE(raw.wait_closed()) << size;
  }
}

TEST_F(DifferencePeer, SendingSumsWithoutEndIsCutOffOrPassedOver) {
  RawPeer raw = subscriber(2);
  question(raw);
  for (int i = 0; i < 10000; ++i) answer(raw, 12345, 8);
  EXPECT_LE(primary.source.difference_count(), 1);
  RawPeer other = subscriber(2);
  EXPECT_NE(question(other), 0u);
}

TEST_F(DifferencePeer, OfTheFirstVersionSendingSumsIsCutOff) {
  RawPeer raw = subscriber(0);
  answer(raw, 1, 8);
  EXPECT_TRUE(raw.wait_closed());
}

class DifferencePrimary : public ::testing::Test {
 protected:
  DifferencePrimary() { replica.start({"127.0.0.1", std::to_string(acceptor.local_endpoint().port())}); }
  RawPeer accepted() { return accept_replica(acceptor, DatabaseId{1}); }
  void begin(RawPeer& raw, bool difference) {
    wire::Message message;
    auto* begin = message.mutable_snapshot_begin();
    begin->set_id(1);
    to_wire(Position{}, begin->mutable_start());
    begin->set_page_size(4096);
    begin->set_difference(difference);
    raw.send(message);
  }
  /// The replica has page 1.
  void fill(RawPeer& raw) {
    begin(raw, false);
    wire::Message message;
    auto* pages = message.mutable_snapshot_pages();
    pages->set_id(1);
    pages->set_raw_size(4096);
    pages->set_size(4096);
    pages->add_runs()->set_first(1);
    pages->mutable_runs(0)->set_count(1);
    raw.send(message, fake_page(1));
    message.mutable_snapshot_end()->set_id(1);
    to_wire(Position{}, message.mutable_snapshot_end()->mutable_end());
    raw.send(message);
  }
  void ask(RawPeer& raw, std::vector<PageRun> runs, std::uint32_t range) {
    wire::Message message;
    auto* wanted = message.mutable_sums_wanted();
    wanted->set_id(1);
    wanted->set_request(7);
    wanted->set_range(range);
    for (const PageRun& run : runs) {
      auto* to = wanted->add_runs();
      to->set_first(run.first.value);
      to->set_count(run.count);
    }
    raw.send(message);
  }
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor{context, {boost::asio::ip::address_v4::loopback(), 0}};
  ReplicaEnd replica;
};

TEST_F(DifferencePrimary, AskingForWrongRangesIsLeft) {
  const std::vector<std::pair<std::vector<PageRun>, std::uint32_t>> wrong = {
      {{}, 16},
      {{{Pgno{1}, 1}}, 0},
      {{{Pgno{1}, 1}}, wire::kSumRangeMax + 1},
      {{{Pgno{0}, 5}}, 16},
      {{{Pgno{1}, 0}}, 16},
      {{{Pgno{1}, wire::kComparedPageCountMax + 1}}, 16},
      {{{Pgno{1}, UINT32_MAX}}, 4096},
      {{{Pgno{UINT32_MAX}, 5}}, 16},
      {{{Pgno{5}, 2}, {Pgno{6}, 2}}, 1},
      {{{Pgno{1000}, 16}}, 16},  // out of turn
  };
  for (const auto& [runs, range] : wrong) {
    RawPeer raw = accepted();
    fill(raw);
    begin(raw, true);
    ask(raw, runs, range);
    EXPECT_TRUE(raw.wait_closed()) << range << " " << runs.size();
  }
}

TEST_F(DifferencePrimary, AskingOutsideOfADifferenceIsLeft) {
  RawPeer raw = accepted();
  fill(raw);
  ask(raw, {{Pgno{1}, 1}}, 1);
  EXPECT_TRUE(raw.wait_closed());
}

TEST_F(DifferencePrimary, IsToldByAnEmptyAnswerThatThereIsNothingToCompare) {
  RawPeer raw = accepted();
  begin(raw, true);
  ask(raw, {{Pgno{1}, 100}}, 16);
  auto sums = raw.receive_until([](auto& m) { return m.has_sums(); });
  ASSERT_TRUE(sums);
  EXPECT_EQ(sums->message.sums().request(), 7u);
  EXPECT_TRUE(sums->payload.empty());
}

TEST_F(DifferencePrimary, OfTheFirstVersionIsFollowed) {
  RawPeer raw(acceptor);
  auto hello = raw.receive();
  ASSERT_TRUE(hello);
  EXPECT_EQ(hello->message.hello().protocol_version(), 1u);  // all that the first version accepts
  auto mine = hello_of({ClusterId{100}, Epoch{5}, Role::kPrimary});
  mine.mutable_hello()->clear_newest_version();
  raw.send(mine);
  EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_have(); }));
}

}  // namespace rillfs::stream
