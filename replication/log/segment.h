// The files of a log: `<first txid, 16 hex digits>.seg`, each a header and then records back to back.
// All integers big-endian; checksums of headers and envelopes are plain CRC-64/GO-ISO.
//
// Segment header, 128 bytes: the state of the log before its first record.
//
//   offset size
//        0    8  magic "RILLSEG1"
//        8    4  format version, 1
//       12    4  zero
//       16    8  database id
//       24    8  epoch of the position before the first record
//       32    8  txid of it
//       40    8  rolling checksum of it
//       48   16  content hash of it (high, low half)
//       64    8  log offset: bytes ever appended before the first record
//       72    8  timestamp of the record before, ms since the Unix epoch
//       80   40  zero
//      120    8  CRC of the 120 bytes before
//
// Record: an envelope, a complete LTX image, zeroes up to a multiple of 8 bytes. Envelope, 136 bytes:
//
//   offset size
//        0    4  magic "RREC"
//        4    4  flags: 1 = snapshot (replaces everything before it; first record of a log only),
//                2 = reserved for records prepared under a super-journal; others invalid
//        8    8  image size, bytes
//       16    8  epoch under which the transaction was made
//       24    8  min txid
//       32    8  max txid
//       40    8  rolling checksum before
//       48    8  rolling checksum after
//       56   16  content hash after (high, low half)
//       72    4  commit: pages of the database afterwards
//       76    4  page size, bytes
//       80    8  timestamp, ms since the Unix epoch
//       88    8  log offset of the record's end: bytes ever appended, this record included
//       96    8  synced txid: highest txid known durable when this was written
//      104    8  file checksum of the LTX image: binds envelope and image together
//      112    8  database id
//      120    8  epoch of the position before
//      128    8  CRC of the 128 bytes before
//
// The last segment of a log that is open, or was not closed, may end with zeroes (no envelope begins with
// them): they are written ahead and are not part of the log.
//
// The synced txid is what tells a torn tail (a power cut took what was never promised) from corruption: if a
// later envelope says that a damaged record had been durable, the disk has lost something.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"
#include "replication/log/content_hash.h"

namespace rillfs::log {

inline constexpr std::size_t kSegmentHeaderSize = 128;
inline constexpr std::size_t kEnvelopeSize = 136;
inline constexpr std::uint32_t kSnapshot = 1;
inline constexpr std::uint32_t kPrepared = 2;

/// The state of a log at one place: what the database is after everything before it.
struct LogState {
  Position position;
  ContentHash hash;
  std::uint64_t log_offset = 0;   ///< bytes of records ever appended to this database's log
  std::int64_t timestamp_ms = 0;  ///< of the last record
  friend bool operator==(const LogState&, const LogState&) = default;
};

struct SegmentHeader {
  DatabaseId database;
  LogState start;
};

/// What a writer says about a change set.
struct NewRecord {
  std::uint32_t flags = 0;
  Epoch epoch;
  Txid min_txid;
  Txid max_txid;
  Checksum pre = Checksum::empty();  ///< rolling checksum before
  Checksum post;                     ///< rolling checksum after
  ContentHash hash;                  ///< after
  Pgno commit;
  std::uint32_t page_size = 0;
  std::int64_t timestamp_ms = 0;

  /// Bytes of the database file afterwards.
  std::uint64_t database_size() const { return std::uint64_t{commit.value} * page_size; }
};

/// One record as its envelope describes it.
struct RecordInfo : NewRecord {
  std::uint64_t image_size = 0;  ///< bytes of LTX
  std::uint64_t log_offset = 0;  ///< of its end
  Txid synced_txid;
  Checksum image_checksum;
  DatabaseId database;
  Epoch pre_epoch;

  Position pre_position() const { return {pre_epoch, Txid{min_txid.value - 1}, pre}; }
  Position post_position() const { return {epoch, max_txid, post}; }
  LogState state_after() const { return {post_position(), hash, log_offset, timestamp_ms}; }
  bool is_snapshot() const { return (flags & kSnapshot) != 0; }
};

/// Bytes that a record with an image of this size takes in a segment.
constexpr std::uint64_t record_size(std::uint64_t image_size) {
  return kEnvelopeSize + ((image_size + 7) & ~std::uint64_t{7});
}

using SegmentHeaderBytes = std::array<std::uint8_t, kSegmentHeaderSize>;
SegmentHeaderBytes encode(const SegmentHeader& header);
/// `bytes` has at least kSegmentHeaderSize. kUnsupported for a later format version, else kCorrupt.
Result<SegmentHeader> parse_segment_header(Bytes bytes);

using EnvelopeBytes = std::array<std::uint8_t, kEnvelopeSize>;
EnvelopeBytes encode(const RecordInfo& record);
/// `bytes` has at least kEnvelopeSize. Nothing unless all of it is intact and sensible; the caller still
/// compares the image size with what the file holds.
std::optional<RecordInfo> parse_envelope(Bytes bytes);

/// kPositionMismatch, saying how, unless the record comes directly after `state`. A snapshot always does: the
/// primary of today may have nothing newer than what another one built on in an epoch between.
Result<void> check_follows(const NewRecord& record, const LogState& state);

/// kInvalid unless the LTX header and trailer (encoded) say the same as the record. A log must not take in
/// what it would refuse to read back.
Result<void> check_image(const NewRecord& record, Bytes ltx_header, Bytes ltx_trailer);

std::string segment_name(Txid first);
std::optional<Txid> parse_segment_name(std::string_view name);

}  // namespace rillfs::log
