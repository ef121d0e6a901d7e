// The wal-index: layout of the -shm file, which SQLite's processes share through mmap.
//
// Source: SQLite's "WAL-mode File Format", 2. All integers in host order (the file never leaves the machine),
// except the salts, which are copied from the WAL as they are there: big-endian.
//
//   region 0 (32768 bytes)                      header, 48 bytes
//       0   48  header, copy 1                       0  4  version, 3007000
//      48   48  header, copy 2                       4  4  unused
//      96    4  nBackfill: frames checkpointed       8  4  change counter, +1 with each transaction
//     100   20  read marks 0..4                     12  1  1 when initialised
//     120    8  the lock bytes (lock_bytes.h)       13  1  word order of the WAL's checksums, 1 is big
//     128    4  nBackfillAttempted                  14  2  page size; 1 means 65536
//     132    4  unused                              16  4  mxFrame: last committed frame
//     136       page numbers of frames 1..4062      20  4  size of the database in pages
//   16384       hash table, 8192 slots              24  8  running checksum at mxFrame
//   every other region                              32  8  salts
//       0       page numbers of 4096 frames         40  8  checksum over bytes 0..39
//   16384       hash table, 8192 slots
//
// Slot pgno*383 mod 8192, or the next free one, holds the frame's number within the region, from 1. A writer
// fills copy 2, then copy 1; a reader reads copy 1, then copy 2, and takes the header if they are equal.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "fs/sqlite/wal.h"
#include "replication/base/bytes.h"
#include "replication/base/types.h"

namespace rillfs::sqlite {

inline constexpr std::size_t kIndexHeaderSize = 48;
inline constexpr std::size_t kIndexRegionSize = 32768;

// Offsets in region 0.
inline constexpr std::size_t kIndexCopy1 = 0;
inline constexpr std::size_t kIndexCopy2 = kIndexHeaderSize;
inline constexpr std::size_t kIndexBackfill = 96;
inline constexpr std::size_t kIndexReadMarks = 100;
inline constexpr std::size_t kIndexBackfillAttempted = 128;
inline constexpr std::uint32_t kReadMarkUnused = 0xffffffff;

// Page numbers and hash tables.
inline constexpr std::size_t kIndexRegion0Pages = 136;
inline constexpr std::size_t kIndexHashTable = 16384;  ///< in every region
inline constexpr std::uint32_t kFramesRegion0 = 4062;
inline constexpr std::uint32_t kFramesPerRegion = 4096;
inline constexpr std::uint32_t kHashSlots = 8192;

struct WalIndexHeader {
  std::uint32_t change = 0;
  WordOrder order = kHostWordOrder;
  std::uint32_t page_size = 0;  ///< bytes; 0 as long as there was no WAL
  std::uint32_t max_frame = 0;
  Pgno size;  ///< of the database, with all frames
  WalChecksum frame_checksum;
  Salts salts;
};

/// The header as bytes, initialised and with its checksum.
std::array<std::uint8_t, kIndexHeaderSize> encode_wal_index_header(const WalIndexHeader& header);
/// One copy of the header; nothing if it is not initialised, does not verify, or has another version: then
/// SQLite recovers the wal-index from the WAL, and so must we (by letting SQLite do it).
std::optional<WalIndexHeader> parse_wal_index_header(Bytes copy);

/// Which region describes `frame` (from 1).
constexpr std::uint32_t index_region(std::uint32_t frame) {
  return frame <= kFramesRegion0 ? 0 : 1 + (frame - kFramesRegion0 - 1) / kFramesPerRegion;
}
/// Number of the last frame before those of `region`.
constexpr std::uint32_t frames_before_region(std::uint32_t region) {
  return region == 0 ? 0 : kFramesRegion0 + (region - 1) * kFramesPerRegion;
}
/// Where the page numbers begin in `region`.
constexpr std::size_t index_pages_offset(std::uint32_t region) {
  return region == 0 ? kIndexRegion0Pages : 0;
}
constexpr std::uint32_t hash_slot(Pgno pgno) { return (pgno.value * 383U) & (kHashSlots - 1); }
constexpr std::uint32_t next_hash_slot(std::uint32_t slot) { return (slot + 1) & (kHashSlots - 1); }

}  // namespace rillfs::sqlite
