// What every LTX file begins and ends with, and what it is called.
//
// Header, 100 bytes, big-endian (there is no version on disk; decoder.h tells the versions apart):
//
//   offset size
//        0    4  magic "LTX1"
//        4    4  flags: 1 = one LZ4 frame around all pages (v1 only), 2 = no checksums
//        8    4  page size: a power of two, 512 to 65536
//       12    4  commit: pages of the database after applying, up to 2^32-2; 0 = the database is deleted
//       16    8  min TXID, at least 1; 1 makes the file a snapshot
//       24    8  max TXID, at least min
//       32    8  timestamp, milliseconds since the Unix epoch, signed
//       40    8  pre-apply checksum: 0 for snapshots and without checksums, else bit 63 is set
//       48    8  WAL offset, signed, not negative
//       56    8  WAL size, signed, not negative; 0 if the offset is
//       64    8  WAL salts 1 and 2; 0 if the offset is 0
//       72    8  id of the node that made it, 0 = not said
//       80   20  reserved: written as zero, ignored, but part of the file checksum
//
// Trailer, 16 bytes: post-apply checksum (0 without checksums), file checksum (always there).
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::ltx {

inline constexpr std::size_t kHeaderSize = 100;
inline constexpr std::size_t kTrailerSize = 16;
inline constexpr std::uint32_t kFlagWholeFrame = 1;
inline constexpr std::uint32_t kFlagNoChecksum = 2;
inline constexpr std::uint32_t kPageSizeMin = 512;
inline constexpr std::uint32_t kPageSizeMax = 65536;

struct Header {
  std::uint32_t flags = 0;
  std::uint32_t page_size = 0;  ///< bytes
  Pgno commit;
  Txid min_txid;
  Txid max_txid;
  std::int64_t timestamp_ms = 0;
  Checksum pre_apply;
  std::uint64_t wal_offset = 0;
  std::uint64_t wal_size = 0;
  std::uint32_t wal_salt1 = 0;
  std::uint32_t wal_salt2 = 0;
  NodeId node;

  /// Every page of the database, from its first transaction on.
  bool is_snapshot() const { return min_txid == Txid{1}; }
  bool has_checksums() const { return !(flags & kFlagNoChecksum); }
  friend bool operator==(const Header&, const Header&) = default;
};

struct Trailer {
  Checksum post_apply;
  Checksum file;
  friend bool operator==(const Trailer&, const Trailer&) = default;
};

/// kInvalid, naming the rule, if the header breaks one. Both flags are allowed: which versions may carry
/// which is up to encoder and decoder.
Result<void> validate(const Header& header);
/// kInvalid if the trailer cannot belong to the header.
Result<void> validate(const Trailer& trailer, const Header& header);

using HeaderBytes = std::array<std::uint8_t, kHeaderSize>;
HeaderBytes encode(const Header& header);
/// Parses and validates; every failure is kCorrupt. `bytes` has at least kHeaderSize bytes.
Result<Header> parse_header(Bytes bytes);
/// Parses only. `bytes` has at least kTrailerSize bytes.
Trailer parse_trailer(Bytes bytes);

struct TxidRange {
  Txid min;
  Txid max;
  friend bool operator==(const TxidRange&, const TxidRange&) = default;
};

/// `<min>-<max>.ltx`, each 16 lower-case hex digits.
std::string file_name(TxidRange range);
/// Inverse of file_name; nothing for any other name.
std::optional<TxidRange> parse_file_name(std::string_view name);

}  // namespace rillfs::ltx
