// The write-ahead log: header, frames and the running checksum.
//
// Source: SQLite's "Database File Format", 4 (WAL). All integers big-endian, except that the checksum reads
// its input as 32-bit words in the order that the magic says.
//
//   header, 32 bytes                         frame header, 24 bytes, followed by one page
//        0  4  magic 0x377f0682 (little-          0  4  page number
//              endian words) or ...83 (big)       4  4  commit: size of the database in pages after this
//        4  4  format, 3007000                          transaction, or 0 if it goes on
//        8  4  page size                          8  4  salt 1, as in the header
//       12  4  checkpoint sequence               12  4  salt 2
//       16  4  salt 1 (+1 with each restart)     16  8  checksum over the header's first 24 bytes and, of
//       20  4  salt 2 (random)                          every frame so far, the first 8 bytes and the page
//       24  8  checksum over bytes 0..23
//
// Frames are counted from 1, as in the wal-index.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::sqlite {

inline constexpr std::size_t kWalHeaderSize = 32;
inline constexpr std::size_t kFrameHeaderSize = 24;

/// Which generation of the WAL a frame belongs to: a restart changes both.
struct Salts {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  friend constexpr bool operator==(const Salts&, const Salts&) = default;
};

enum class WordOrder : std::uint8_t { kLittle = 0, kBig = 1 };
inline constexpr WordOrder kHostWordOrder =
    std::endian::native == std::endian::big ? WordOrder::kBig : WordOrder::kLittle;

/// The running checksum: a pair of 32-bit sums in which the order of the words counts.
struct WalChecksum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  /// Adds `bytes`, whose length must be a multiple of 8.
  void update(Bytes bytes, WordOrder order);
  friend constexpr bool operator==(const WalChecksum&, const WalChecksum&) = default;
};

struct WalHeader {
  WordOrder order = kHostWordOrder;
  std::uint32_t page_size = 0;  ///< bytes
  std::uint32_t checkpoint_sequence = 0;
  Salts salts;
  WalChecksum checksum;  ///< of bytes 0..23: what the first frame continues; set by parse and encode
};

/// The header as bytes; sets `header.checksum`.
std::array<std::uint8_t, kWalHeaderSize> encode_wal_header(WalHeader& header);
/// Parses and verifies the first 32 bytes of a WAL. kCorrupt for anything SQLite would not take for a WAL;
/// kUnsupported for another format version.
Result<WalHeader> parse_wal_header(Bytes start_of_file);

struct FrameHeader {
  Pgno pgno;
  Pgno commit;  ///< 0: the transaction goes on
  Salts salts;
  WalChecksum checksum;  ///< the running checksum including this frame

  bool is_commit() const { return commit.value != 0; }
};

/// Takes the header's fields as they are; `bytes` has at least kFrameHeaderSize.
FrameHeader parse_frame_header(Bytes bytes);
/// Salts and checksum are zero: written while SQLite still meant to come back to it (capture/wal_scanner.h).
inline bool is_unsealed_frame(Bytes header) { return is_zero(header.subspan(8, 16)); }

/// Fills the 24 bytes before `page` so that the frame continues `running`, which is advanced.
void encode_frame_header(std::uint8_t* to, Pgno pgno, Pgno commit, Salts salts, Bytes page, WordOrder order,
                         WalChecksum& running);

/// True if this frame (24 bytes and a page) continues `running` in a WAL with `salts`; then `running` has
/// been advanced. Page number 0 is never valid.
bool verify_frame(Bytes frame, Salts salts, WordOrder order, WalChecksum& running);

constexpr std::uint64_t frame_size(std::uint32_t page_size) { return kFrameHeaderSize + page_size; }
/// Where frame `frame` (from 1) begins. Frame n+1 begins where a WAL of n frames ends.
constexpr std::uint64_t frame_offset(std::uint32_t frame, std::uint32_t page_size) {
  return kWalHeaderSize + (static_cast<std::uint64_t>(frame) - 1) * frame_size(page_size);
}

}  // namespace rillfs::sqlite
