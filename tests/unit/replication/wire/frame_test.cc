// Goal: the parser finds exactly the frames that were written, and nothing a peer sends makes it crash, wait
// for more than a frame or allocate. Method: written frames in pieces of every size; hostile bytes.
#include "replication/wire/frame.h"

#include <gtest/gtest.h>
#include <time.h>

#include "replication/base/random.h"

namespace rillfs::wire {

namespace {

void put(FrameParser& parser, Bytes bytes) {
  while (!bytes.empty()) {
    auto space = parser.space();
    ASSERT_FALSE(space.empty());
    const std::size_t count = std::min(space.size(), bytes.size());
    std::copy_n(bytes.begin(), count, space.begin());
    parser.filled(count);
    bytes = bytes.subspan(count);
  }
}

Buffer chunk_frame(std::size_t payload, std::uint32_t claimed) {
  Message message;
  message.mutable_chunk()->set_id(7);
  message.mutable_chunk()->set_size(claimed);
  Buffer out;
  append_frame(message, out);
  out.resize(out.size() + payload, 0x5a);
  return out;
}

Buffer length(std::uint32_t value) {
  Buffer out(4);
  store_be(out.data(), value);
  return out;
}

}  // namespace

TEST(FrameParser, APeerThatSaysLittleCostsLittle) {
  FrameParser parser;
  EXPECT_LE(parser.space().size(), 16u * 1024);
  parser.filled(3);
  EXPECT_LE(parser.space().size(), 16u * 1024);
}

TEST(FrameParser, FindsFramesHoweverTheBytesAreCut) {
  Buffer stream = chunk_frame(1000, 1000);
  Message heartbeat;
  heartbeat.mutable_heartbeat()->set_sequence(9);
  append_frame(heartbeat, stream);
  for (std::size_t step : {std::size_t{1}, std::size_t{3}, std::size_t{500}, stream.size()}) {
    FrameParser parser;
    std::vector<Frame> found;
    for (std::size_t at = 0; at < stream.size(); at += step) {
      put(parser, Bytes(stream).subspan(at, std::min(step, stream.size() - at)));
      while (auto frame = parser.next().value()) found.push_back(std::move(*frame));
    }
    ASSERT_EQ(found.size(), 2u) << step;
    EXPECT_EQ(found[0].payload, Buffer(1000, 0x5a));
    EXPECT_EQ(found[1].message.heartbeat().sequence(), 9u);
    EXPECT_EQ(parser.pending(), 0u);
  }
}

// A request for a snapshot with one wrong bit was passed over by the primary, and the replica waited for
// ever.
TEST(FrameParser, AFlippedBitIsNeverAMessage) {
  Message hello;
  hello.mutable_hello()->set_protocol_version(kProtocolVersionMin);
  hello.mutable_hello()->set_newest_version(kProtocolVersion);
  hello.mutable_hello()->set_epoch(3);
  Message resync;
  resync.mutable_resync()->set_id(0x0123456789abcdef);
  Buffer stream;
  append_frame(hello, stream);
  const std::size_t second = stream.size();
  append_frame(resync, stream);
  for (std::size_t bit = 0; bit < 8 * stream.size(); ++bit) {
    Buffer damaged = stream;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    FrameParser parser;
    put(parser, damaged);
    std::size_t frames = 0;
    for (auto frame = parser.next(); frame && *frame; frame = parser.next()) ++frames;
    EXPECT_EQ(frames, bit / 8 < second ? 0U : 1U) << "bit " << bit;
  }
}

TEST(FrameParser, AnOlderPeerHasNoSums) {
  Message hello;
  hello.mutable_hello()->set_protocol_version(kProtocolVersionMin);
  hello.mutable_hello()->set_newest_version(kVersionWithSums - 1);
  const std::string bytes = hello.SerializeAsString();
  Buffer stream = length(static_cast<std::uint32_t>(bytes.size()));
  stream.insert(stream.end(), bytes.begin(), bytes.end());
  FrameParser parser;
  put(parser, stream);
  ASSERT_TRUE(parser.next().value());
  hello.mutable_hello()->set_newest_version(kVersionWithSums);
  const std::string newer = hello.SerializeAsString();
  stream = length(static_cast<std::uint32_t>(newer.size()));
  stream.insert(stream.end(), newer.begin(), newer.end());
  put(parser, stream);
  auto refused = parser.next();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt);
}

TEST(FrameParser, APayloadThatDribblesInCostsNoMoreThanItsBytes) {
  auto cpu_ns = [] {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
  };
  constexpr std::size_t kPayload = 3000;
  Message message;
  for (int i = 0; i < 20000; ++i) message.mutable_snapshot_pages()->add_runs();
  message.mutable_snapshot_pages()->set_size(kPayload);
  Buffer head;
  append_frame(message, head);
  FrameParser parser;
  const auto begin = cpu_ns();
  put(parser, head);
  ASSERT_FALSE(parser.next().value());
  const auto parsed = cpu_ns();
  for (std::size_t i = 1; i < kPayload; ++i) {
    put(parser, Buffer(1));
    ASSERT_FALSE(parser.next().value());
  }
  const auto waited = cpu_ns();
  put(parser, Buffer(1));
  auto frame = parser.next().value();
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->payload.size(), kPayload);
  EXPECT_EQ(frame->message.snapshot_pages().runs_size(), 20000);
  // Parsing the message anew for each byte takes 3000 times as long as once.
  EXPECT_LT(waited - parsed, 300 * (parsed - begin));
}

TEST(FrameParser, RefusesALengthBeforeTheMessageArrives) {
  for (std::uint32_t size : {0u, std::uint32_t{kMessageSizeMax} + 1, 0x47455420u, 0xffffffffu}) {
    FrameParser parser;
    put(parser, length(size));
    auto next = parser.next();
    ASSERT_FALSE(next) << size;
    EXPECT_EQ(next.error().code, ErrorCode::kInvalid);
  }
  FrameParser parser;
  put(parser, length(kMessageSizeMax));
  EXPECT_FALSE(parser.next().value());
}

TEST(FrameParser, RefusesAPayloadThatIsTooLargeOrEmptyBeforeItArrives) {
  for (std::uint32_t size : {0u, std::uint32_t{kPayloadSizeMax} + 1, 0xffffffffu}) {
    FrameParser parser;
    put(parser, chunk_frame(0, size));
    EXPECT_FALSE(parser.next()) << size;
  }
}

TEST(FrameParser, WaitsForATruncatedPayloadAndHasRoomForIt) {
  FrameParser parser;
  Buffer frame = chunk_frame(kPayloadSizeMax, kPayloadSizeMax);
  put(parser, Bytes(frame).first(frame.size() - 1));
  EXPECT_FALSE(parser.next().value());
  put(parser, Bytes(frame).last(1));
  EXPECT_EQ(parser.next().value()->payload.size(), kPayloadSizeMax);
}

TEST(FrameParser, RefusesAMessageWithoutAKnownBody) {
  FrameParser parser;
  put(parser, Buffer{0, 0, 0, 3, 0xfa, 0x7f, 0x00});  // field 2047, empty
  EXPECT_FALSE(parser.next());
}

TEST(FrameParser, SurvivesRandomBytes) {
  SeededRandom random(1);
  for (int round = 0; round < 2000; ++round) {
    FrameParser parser;
    Buffer bytes(random.next() % 300 + 4);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random.next());
    // A plausible length, so that the message itself is reached.
    store_be(bytes.data(), static_cast<std::uint32_t>(random.next() % bytes.size()));
    put(parser, bytes);
    for (int i = 0; i < 100; ++i) {
      auto next = parser.next();
      if (!next || !*next) break;
    }
  }
}

}  // namespace rillfs::wire
