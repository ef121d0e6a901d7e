// Frames: how messages lie in the byte stream.
//
//   offset  size     content
//   0       4        n, big-endian: bytes of the message, 1 .. kMessageSizeMax
//   4       n        the Message (rillfs.proto); its last 6 bytes are its field `sum`: the lower half of the
//                    XXH3-64 (seed 0) of all bytes before them, the length included
//   4+n     size     only after Chunk, SnapshotPages and Sums: raw payload, 1 (Sums: 0) ..
//                    kPayloadSizeMax
//
// TCP's own checksum misses one damaged segment in 65,536, and a flipped bit in a name, a position or a
// request is nothing that protobuf notices. Payloads are verified by what is in them. A peer whose Hello says
// that it speaks version 3 is not believed without sums; an older one has none.
//
// FrameParser is a function of the bytes it is given; it knows no socket, so that it can be fuzzed.
#pragma once

#include <optional>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/wire/limits.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::wire {

/// One message and, for Chunk, SnapshotPages and Sums, the bytes that followed it.
struct Frame {
  Message message;
  Buffer payload;
};

/// Bytes of payload that follow this message; 0 for all but Chunk, SnapshotPages and Sums.
std::size_t payload_size(const Message& message);

/// Appends length and message. The message is ours and within the limit: a larger one is a bug.
void append_frame(const Message& message, Buffer& out);

/// Threads: one. Memory: what has come of one frame, doubled, and 16 KiB at least; so a peer
/// that says little, as one that has not introduced itself, costs little.
class FrameParser {
 public:
  FrameParser();
  /// Where to put the next bytes from the peer; never empty after next() returned nothing.
  MutableBytes space();
  /// `count` bytes were put there.
  void filled(std::size_t count);
  /// The next whole frame, nothing if more bytes are needed, kInvalid if the bytes break the protocol,
  /// kCorrupt if they are not what was sent (then the session is over). The message is without its sum.
  Result<std::optional<Frame>> next();
  /// Bytes that belong to a frame which is not complete.
  std::size_t pending() const { return started_size_ + end_ - begin_; }

 private:
  Result<void> start();
  /// `bytes`: of the length and the message.
  Result<void> verify(const Message& message, Bytes bytes);

  Buffer buffer_;
  std::optional<Frame> started_;  // its payload is incomplete; parsed once, however slowly that comes
  std::size_t started_size_ = 0;  // bytes of its length and message
  bool sums_required_ = false;    // the peer has said that it sends them
  std::size_t begin_ = 0;         // first byte not consumed, of the payload if a frame is started
  std::size_t end_ = 0;           // after the last byte received
};

}  // namespace rillfs::wire
