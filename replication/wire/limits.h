// Limits of the protocol. Whatever exceeds one ends the session, before anything is allocated for it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rillfs::wire {

inline constexpr std::uint32_t kProtocolVersionMin = 1;  ///< oldest that this node speaks
inline constexpr std::uint32_t kProtocolVersion = 3;     ///< newest
/// From here on a snapshot may be one by difference.
inline constexpr std::uint32_t kVersionWithDifference = 2;
/// From here on every message has a sum.
inline constexpr std::uint32_t kVersionWithSums = 3;

inline constexpr std::size_t kMessageSizeMax = 64 * 1024;   ///< bytes of one encoded Message
inline constexpr std::size_t kPayloadSizeMax = 256 * 1024;  ///< raw bytes after one Message
inline constexpr std::size_t kPathSizeMax = 4096;           ///< bytes of a database's name
inline constexpr std::size_t kDatabaseCountMax = 1'000'000;
inline constexpr std::uint64_t kImageSizeMax = std::uint64_t{1} << 40;  ///< bytes of one change set

/// Entries of Have, Ack and Heartbeat in one message: well below kMessageSizeMax, at most 50 bytes each.
inline constexpr std::size_t kEntriesPerMessage = 1000;

/// One question about sums: pages in all, and pages a sum. The answer fits one payload, 8 bytes a sum.
inline constexpr std::uint32_t kComparedPageCountMax = kPayloadSizeMax / 8;
inline constexpr std::uint32_t kSumRangeMax = 4096;

inline constexpr std::uint32_t kPageSizeMin = 512;
inline constexpr std::uint32_t kPageSizeMax = 65536;

}  // namespace rillfs::wire
