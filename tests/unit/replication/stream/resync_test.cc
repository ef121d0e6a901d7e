// Goal: a snapshot that the owner of a replica asks for arrives, whatever happens to it on its way, and is
// not asked for once it has. Method: a subscriber over loopback, whose primary the test speaks for.
#include <gtest/gtest.h>

#include "unit/support/stream_ends.h"

namespace rillfs::stream {

using namespace rillfs::testing;

class DamagedReplica : public ::testing::Test {
 protected:
  DamagedReplica() {
    replica.options.session.heartbeat_interval = std::chrono::milliseconds(20);
    replica.start({"127.0.0.1", std::to_string(acceptor.local_endpoint().port())});
  }
  /// A session after its catalog.
  RawPeer accepted() {
    RawPeer raw = accept_replica(acceptor, id);
    wire::Message end;
    end.mutable_catalog_end();
    raw.send(end);
    return raw;
  }
  void begin(RawPeer& raw) {
    wire::Message message;
    auto* begin = message.mutable_snapshot_begin();
    begin->set_id(id.value);
    to_wire(Position{}, begin->mutable_start());
    begin->set_page_size(4096);
    raw.send(message);
  }
  void end(RawPeer& raw, const Position& position) {
    wire::Message message;
    message.mutable_snapshot_end()->set_id(id.value);
    to_wire(position, message.mutable_snapshot_end()->mutable_end());
    raw.send(message);
  }
  void send_change_set(RawPeer& raw) {
    raw.send(change_set_message(id, {Position{}, post, image.size(), 1, image.size()}));
    wire::Message message;
    message.mutable_chunk()->set_id(id.value);
    message.mutable_chunk()->set_size(static_cast<std::uint32_t>(image.size()));
    raw.send(message, as_bytes(image));
  }
  /// What the damage leads to.
  void ask(RawPeer& raw) {
    replica.subscriber->resync(id);
    ASSERT_TRUE(is_asked(raw));
  }
  bool is_asked(RawPeer& raw) {
    return raw.receive_until([](auto& m) { return m.has_resync(); }).has_value();
  }
  /// Everything that was sent so far is done with, so that what it makes the replica ask for is on its way.
  /// Returns how often it has asked since.
  int asked_until_now(RawPeer& raw, std::uint64_t sequence) {
    wire::Message message;
    message.mutable_heartbeat()->set_epoch(5);
    message.mutable_heartbeat()->set_sequence(sequence);
    raw.send(message);
    int asked = 0;
    for (;;) {
      auto frame = raw.receive();
      EXPECT_TRUE(frame);
      if (!frame || frame->message.heartbeat_reply().sequence() == sequence) return asked;
      asked += frame->message.has_resync();
    }
  }
  bool wait_event(const std::string& event) {
    return replica.sink.wait([&](auto&, auto& events) { return std::ranges::count(events, event) > 0; });
  }

  const DatabaseId id{1};
  const std::string image = "change set";
  const Position post{Epoch{1}, Txid{1}, hash(Position{}.checksum, as_bytes(image))};
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor acceptor{context, {boost::asio::ip::address_v4::loopback(), 0}};
  ReplicaEnd replica;
};

TEST_F(DamagedReplica, AsksAgainWhenTheConnectionBreaksInsideOfTheSnapshot) {
  {
    RawPeer raw = accepted();
    ask(raw);
    begin(raw);
    ASSERT_TRUE(wait_event("snapshot app.db"));
  }
  RawPeer raw = accepted();
  EXPECT_TRUE(is_asked(raw));
}

TEST_F(DamagedReplica, AsksAgainWhenTheConnectionBreaksBeforeTheSnapshotIsExact) {
  {
    RawPeer raw = accepted();
    ask(raw);
    begin(raw);
    end(raw, post);
    ASSERT_TRUE(wait_event("complete app.db"));
  }
  RawPeer raw = accepted();
  EXPECT_TRUE(is_asked(raw));
}

TEST_F(DamagedReplica, AsksAgainWhenTheSnapshotWasRefused) {
  {
    RawPeer raw = accepted();
    ask(raw);
    replica.sink.fail_next({ErrorCode::kCorrupt});
    begin(raw);
    end(raw, post);
    send_change_set(raw);
    ASSERT_TRUE(is_asked(raw));  // the next one is passed over as well
    send_change_set(raw);
  }
  RawPeer raw = accepted();
  EXPECT_TRUE(is_asked(raw));
}

TEST_F(DamagedReplica, AsksAgainWhenOnlyASnapshotFromBeforeWasComplete) {
  {
    RawPeer raw = accepted();
    begin(raw);
    ASSERT_TRUE(wait_event("snapshot app.db"));
    ask(raw);
    end(raw, Position{});
    ASSERT_TRUE(wait_event("complete app.db"));
  }
  RawPeer raw = accepted();
  EXPECT_TRUE(is_asked(raw));
}

TEST_F(DamagedReplica, DoesNotAskAgainForWhatHasArrived) {
  {
    RawPeer raw = accepted();
    ask(raw);
    begin(raw);
    end(raw, post);
    send_change_set(raw);
    ASSERT_TRUE(wait_event("change app.db"));
    EXPECT_EQ(asked_until_now(raw, 1), 0);
  }
  RawPeer raw = accepted();
  EXPECT_EQ(asked_until_now(raw, 2), 0);
}

}  // namespace rillfs::stream
