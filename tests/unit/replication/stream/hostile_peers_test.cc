// Goal: no peer, broken, old, foreign or hostile, makes a node crash, hang, forget its limits or touch its
// databases. Method: one real end, the other spoken by the test; afterwards a good peer is still served.
#include <gtest/gtest.h>

#include "unit/support/stream_ends.h"

namespace rillfs::stream {

using namespace rillfs::testing;

namespace {

wire::SessionOptions impatient() {
  using std::chrono::milliseconds;
  return {milliseconds(20), milliseconds(600), milliseconds(600)};
}

}  // namespace

class HostileSubscriber : public ::testing::Test {
 protected:
  HostileSubscriber() {
    id = primary.source.create("app.db", 2);
    primary.start();
  }
  ~HostileSubscriber() override {
    ReplicaEnd good;
    good.start(primary.publisher->address());
    EXPECT_TRUE(good.sink.wait_position(id, primary.source.position(id)));
  }
  RawPeer peer() { return RawPeer(primary.publisher->address()); }
  /// Says hello and returns what the refusal says.
  std::string refusal(const wire::Message& hello) {
    RawPeer raw = peer();
    raw.send(hello);
    auto answer = raw.receive();
    return answer && answer->message.has_refusal() ? answer->message.refusal().message() : "";
  }
  RawPeer greeted() {
    RawPeer raw = peer();
    raw.send(hello_of({primary.node->membership().cluster, Epoch{}, Role::kReplica}));
    raw.send(empty_have());
    EXPECT_TRUE(raw.receive()->message.has_hello());
    return raw;
  }
  PrimaryEnd primary{impatient()};
  DatabaseId id;
};

TEST_F(HostileSubscriber, OfAnotherClusterIsToldBothIdsAndNoDatabase) {
  auto said = refusal(hello_of({ClusterId{0xabc}, Epoch{1}, Role::kReplica}));
  EXPECT_NE(said.find("0000000000000abc"), std::string::npos) << said;
  EXPECT_NE(said.find(to_hex(primary.node->membership().cluster.value)), std::string::npos) << said;
}

TEST_F(HostileSubscriber, OfANewerProtocolIsToldWhatToUpgrade) {
  auto hello = hello_of({ClusterId{}, Epoch{}, Role::kReplica});
  hello.mutable_hello()->set_protocol_version(wire::kProtocolVersion + 1);
  auto said = refusal(hello);
  EXPECT_NE(said.find("upgrade this node"), std::string::npos) << said;
}

TEST_F(HostileSubscriber, WithANewerEpochOrOurOwnIdIsRefused) {
  auto cluster = primary.node->membership().cluster;
  EXPECT_NE(refusal(hello_of({cluster, Epoch{99}, Role::kReplica})).find("epoch 99"), std::string::npos);
  EXPECT_NE(
      refusal(hello_of({cluster, Epoch{1}, Role::kReplica}, primary.node->id().value)).find("own node id"),
      std::string::npos);
}

TEST_F(HostileSubscriber, RandomBytesAndHugeLengthsEndTheSession) {
  SeededRandom random(3);
  for (int round = 0; round < 20; ++round) {
    Buffer bytes(1000);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    if (round % 2) store_be(bytes.data(), static_cast<std::uint32_t>(round * 10 + 1));
    RawPeer raw = peer();
    raw.send(bytes);
    EXPECT_TRUE(raw.wait_closed());
  }
  RawPeer raw = peer();
  raw.send(Buffer{0xff, 0xff, 0xff, 0xff});
  EXPECT_TRUE(raw.wait_closed());
}

TEST_F(HostileSubscriber, ThatNeverFinishesTheHandshakeIsDropped) {
  RawPeer silent = peer();
  EXPECT_TRUE(silent.wait_closed());
  RawPeer half = peer();
  half.send(hello_of({ClusterId{}, Epoch{}, Role::kReplica}));
  EXPECT_TRUE(half.wait_closed());
}

TEST_F(HostileSubscriber, ThatFallsSilentIsTakenForDead) {
  RawPeer raw = greeted();
  EXPECT_TRUE(raw.wait_closed());
  EXPECT_TRUE(eventually([&] { return !primary.publisher->status().at(0).connected; }));
}

TEST_F(HostileSubscriber, AcknowledgingOrResyncingAnUnknownDatabaseChangesNothing) {
  RawPeer raw = greeted();
  wire::Message message;
  message.mutable_ack()->add_progress()->set_id(12345);
  raw.send(message);
  message.mutable_resync()->set_id(12345);
  raw.send(message);
  auto databases = [&] { return primary.publisher->status().at(0).databases.size(); };
  EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_heartbeat() && m.heartbeat().sequence() > 2; }));
  EXPECT_EQ(databases(), 1u);
}

TEST_F(HostileSubscriber, SendingWhatOnlyAPrimarySendsIsCutOff) {
  RawPeer raw = greeted();
  wire::Message message;
  message.mutable_drop()->set_id(id.value);
  raw.send(message);
  EXPECT_TRUE(raw.wait_closed());
  EXPECT_TRUE(primary.source.find(id));
}

class HostilePrimary : public ::testing::Test {
 protected:
  HostilePrimary() {
    replica.options.session = impatient();
    replica.start({"127.0.0.1", std::to_string(acceptor.local_endpoint().port())});
  }
  /// Accepts the replica and greets it as a good primary would.
  RawPeer greeted(std::uint64_t epoch = 5, std::uint64_t cluster = 100) {
    RawPeer raw(acceptor);
    EXPECT_TRUE(raw.receive()->message.has_hello());
    raw.send(hello_of({ClusterId{cluster}, Epoch{epoch}, Role::kPrimary}));
    return raw;
  }
  RawPeer accepted() {
    RawPeer raw = greeted();
    EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_have(); }));
    return raw;
  }
  void announce(RawPeer& raw) {
    DatabaseState state;
    state.info = {DatabaseId{1}, "app.db", 0644, 0, 0};
    raw.send(announce_message(state));
  }
  void begin_snapshot(RawPeer& raw) {
    announce(raw);
    wire::Message message;
    auto* begin = message.mutable_snapshot_begin();
    begin->set_id(1);
    to_wire(Position{}, begin->mutable_start());
    begin->set_page_size(4096);
    raw.send(message);
  }
  bool error_says(const std::string& what) {
    return eventually([&] { return replica.error().find(what) != std::string::npos; });
  }
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor{context, {boost::asio::ip::address_v4::loopback(), 0}};
  ReplicaEnd replica;
};

TEST_F(HostilePrimary, OfAnOlderEpochIsNotFollowed) {
  { RawPeer raw = accepted(); }
  RawPeer raw = greeted(4);
  auto answer = raw.receive_until([](auto& m) { return m.has_refusal(); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->message.refusal().code(), wire::Refusal::EPOCH);
  EXPECT_EQ(replica.node->membership().epoch, Epoch{5});
}

TEST_F(HostilePrimary, OfAnotherClusterIsNotFollowed) {
  { RawPeer raw = accepted(); }
  RawPeer raw = greeted(9, 0xabc);
  EXPECT_TRUE(raw.receive_until([](auto& m) { return m.has_refusal(); }));
  EXPECT_EQ(replica.node->membership().cluster, ClusterId{100});
  EXPECT_EQ(replica.node->membership().epoch, Epoch{5});
}

TEST_F(HostilePrimary, ThatFallsSilentIsLeft) {
  RawPeer raw = accepted();
  EXPECT_TRUE(error_says("silent"));
}

TEST_F(HostilePrimary, SendingDataOfAnUnknownDatabaseIsLeft) {
  RawPeer raw = accepted();
  wire::Message message;
  message.mutable_chunk()->set_id(7);
  message.mutable_chunk()->set_size(3);
  raw.send(message, Buffer{1, 2, 3});
  EXPECT_TRUE(error_says("not announced"));
  EXPECT_TRUE(replica.sink.events().empty());
}

TEST_F(HostilePrimary, SendingAChunkOfNoChangeSetIsLeft) {
  RawPeer raw = accepted();
  begin_snapshot(raw);
  wire::Message message;
  message.mutable_snapshot_end()->set_id(1);
  to_wire(Position{}, message.mutable_snapshot_end()->mutable_end());
  raw.send(message);
  message.mutable_chunk()->set_id(1);
  message.mutable_chunk()->set_size(3);
  raw.send(message, Buffer{1, 2, 3});
  EXPECT_TRUE(error_says("chunk of no change set"));
}

TEST_F(HostilePrimary, SendingDamagedPagesIsLeft) {
  RawPeer raw = accepted();
  begin_snapshot(raw);
  wire::Message message;
  auto* pages = message.mutable_snapshot_pages();
  pages->set_id(1);
  pages->set_raw_size(4096);
  pages->set_size(5);
  pages->add_runs()->set_first(1);
  pages->mutable_runs(0)->set_count(1);
  raw.send(message, Buffer{1, 2, 3, 4, 5});
  EXPECT_TRUE(error_says("LZ4"));
}

TEST_F(HostilePrimary, NamingAPathOutsideOfTheMountIsLeft) {
  for (const char* path : {"../etc/passwd", "/etc/passwd", "a//b", "a/./b", "", "a/"}) {
    RawPeer raw = accepted();
    DatabaseState state;
    state.info = {DatabaseId{1}, path, 0644, 0, 0};
    raw.send(announce_message(state));
    EXPECT_TRUE(raw.wait_closed()) << path;
  }
  EXPECT_TRUE(replica.sink.events().empty());
}

TEST_F(HostilePrimary, EndingInTheMiddleOfAPayloadIsReconnectedTo) {
  {
    RawPeer raw = accepted();
    begin_snapshot(raw);
    wire::Message message;
    auto* pages = message.mutable_snapshot_pages();
    pages->set_id(1);
    pages->set_raw_size(4096);
    pages->set_size(4096);
    raw.send(message, Buffer(100));
  }
  RawPeer again = accepted();
}

}  // namespace rillfs::stream
