// Where SQLite's locks are: byte ranges of the database file and of the -shm file, taken with fcntl.
//
// Source: SQLite's documentation of file locking (database file) and of the wal-index ("walformat", -shm
// file). The bytes need not exist in the file.
#pragma once

#include <cstdint>

#include "replication/base/types.h"

namespace rillfs::sqlite {

struct LockRange {
  std::int64_t start = 0;
  std::int64_t length = 1;
};

// Database file.
inline constexpr std::int64_t kPendingByte = 0x40000000;
inline constexpr LockRange kPending{kPendingByte, 1};
inline constexpr LockRange kReserved{kPendingByte + 1, 1};
inline constexpr LockRange kShared{kPendingByte + 2, 510};

// -shm file.
inline constexpr LockRange kWalWrite{120, 1};
inline constexpr LockRange kWalCheckpoint{121, 1};
inline constexpr LockRange kWalRecover{122, 1};
inline constexpr int kWalReaders = 5;
/// READ0 is held by readers that need nothing from the WAL, READ1..READ4 by those that read frames.
inline constexpr LockRange kWalRead0{123, 1};
inline constexpr LockRange kWalRead1To4{124, 4};
inline constexpr LockRange kDeadManSwitch{128, 1};

/// The page that holds the lock bytes of the database file. It is never used, never journaled, never in a
/// WAL.
constexpr Pgno lock_page(std::uint32_t page_size) {
  return Pgno{static_cast<std::uint32_t>(kPendingByte / page_size + 1)};
}

}  // namespace rillfs::sqlite
