#include "replication/wire/frame.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <utility>

namespace rillfs::wire {

namespace {

constexpr std::size_t kLengthSize = 4;
constexpr std::uint8_t kSumTag[] = {0x95, 0x01};  // field 18, fixed32
constexpr std::size_t kSumSize = sizeof kSumTag + 4;

/// Little-endian, as protobuf has it.
std::array<std::uint8_t, kSumSize> encode_sum(Bytes before) {
  const std::uint64_t hash = XXH3_64bits(before.data(), before.size());
  std::array<std::uint8_t, kSumSize> field{kSumTag[0], kSumTag[1]};
  for (std::size_t i = 0; i < 4; ++i) field[sizeof kSumTag + i] = static_cast<std::uint8_t>(hash >> 8 * i);
  return field;
}

Result<void> check_payload_size(const Message& message) {
  bool must_carry = message.has_chunk() || message.has_snapshot_pages();
  std::size_t size = payload_size(message);
  if ((must_carry && size == 0) || size > kPayloadSizeMax)
    return make_error(ErrorCode::kInvalid, "payload of " + std::to_string(size) + " bytes; 1 to " +
                                               std::to_string(kPayloadSizeMax) + " are allowed");
  return {};
}

}  // namespace

std::size_t payload_size(const Message& message) {
  if (message.has_chunk()) return message.chunk().size();
  if (message.has_snapshot_pages()) return message.snapshot_pages().size();
  if (message.has_sums()) return message.sums().size();
  return 0;
}

void append_frame(const Message& message, Buffer& out) {
  const std::size_t size = message.ByteSizeLong();
  if (size == 0 || size + kSumSize > kMessageSizeMax || message.has_sum()) std::abort();
  const std::size_t at = out.size();
  out.resize(at + kLengthSize + size);
  store_be(out.data() + at, static_cast<std::uint32_t>(size + kSumSize));
  message.SerializeToArray(out.data() + at + kLengthSize, static_cast<int>(size));
  append_bytes(out, encode_sum(Bytes(out).subspan(at)));
}

namespace {
constexpr std::size_t kBufferSizeMin = 16 * 1024;
constexpr std::size_t kBufferSizeMax = kLengthSize + kMessageSizeMax + kPayloadSizeMax;
}  // namespace

FrameParser::FrameParser() : buffer_(kBufferSizeMin) {}

MutableBytes FrameParser::space() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ > buffer_.size() / 2 || end_ == buffer_.size()) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == buffer_.size()) buffer_.resize(std::min(2 * end_, kBufferSizeMax));
  return MutableBytes(buffer_).subspan(end_);
}

void FrameParser::filled(std::size_t count) { end_ += count; }

Result<void> FrameParser::start() {
  Bytes bytes = Bytes(buffer_).subspan(begin_, end_ - begin_);
  if (bytes.size() < kLengthSize) return {};
  std::size_t size = load_be<std::uint32_t>(bytes.data());
  if (size == 0 || size > kMessageSizeMax)
    return make_error(ErrorCode::kInvalid, "message of " + std::to_string(size) + " bytes; 1 to " +
                                               std::to_string(kMessageSizeMax) +
                                               " are allowed: is the peer a RillFS node?");
  if (bytes.size() < kLengthSize + size) return {};
  Frame frame;
  if (!frame.message.ParseFromArray(bytes.data() + kLengthSize, static_cast<int>(size)))
    return make_error(ErrorCode::kInvalid, "message that is no protobuf of ours");
  if (frame.message.body_case() == Message::BODY_NOT_SET)
    return make_error(ErrorCode::kInvalid, "message of a kind this version does not know");
  RILL_TRY(verify(frame.message, bytes.first(kLengthSize + size)));
  frame.message.clear_sum();
  RILL_TRY(check_payload_size(frame.message));
  started_size_ = kLengthSize + size;
  begin_ += started_size_;
  started_ = std::move(frame);
  return {};
}

Result<void> FrameParser::verify(const Message& message, Bytes bytes) {
  if (message.has_hello() && message.hello().newest_version() >= kVersionWithSums) sums_required_ = true;
  if (!message.has_sum() && !sums_required_) return {};
  const bool sound =
      bytes.size() > kLengthSize + kSumSize &&
      std::ranges::equal(encode_sum(bytes.first(bytes.size() - kSumSize)), bytes.last(kSumSize));
  if (sound) return {};
  return make_error(
      ErrorCode::kCorrupt,
      "a message was damaged on its way, so the connection is given up; if that happens again, look "
      "for faulty memory or network hardware, or a proxy that changes what passes");
}

Result<std::optional<Frame>> FrameParser::next() {
  if (!started_) RILL_TRY(start());
  if (!started_) return std::optional<Frame>();
  std::size_t size = payload_size(started_->message);
  if (end_ - begin_ < size) return std::optional<Frame>();
  Bytes payload = Bytes(buffer_).subspan(begin_, size);
  started_->payload.assign(payload.begin(), payload.end());
  begin_ += size;
  started_size_ = 0;
  return std::exchange(started_, std::nullopt);
}

}  // namespace rillfs::wire
