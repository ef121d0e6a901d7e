// The mapped wal-index (-shm) of one database, as its writer sees it.
//
// Layout: fs/sqlite/wal_index.h. The memory is shared with every process that has the database open. What may
// be changed when is SQLite's protocol: everything here except `header` and `backfilled` needs
// WAL_WRITE_LOCK. Touching the mapping is an access to the mount: no lock that a FUSE handler takes may be
// held.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fs/apply/descriptor.h"
#include "fs/sqlite/lock_bytes.h"
#include "fs/sqlite/wal_index.h"
#include "replication/base/types.h"

namespace rillfs::apply {

/// Threads: `header` and `backfilled` any, everything else one at a time.
class SharedIndex {
 public:
  /// Maps region 0 of `shm`, which must have it (SQLite creates it). Does not own `shm`.
  static Result<SharedIndex> map(const Descriptor& shm);
  ~SharedIndex();
  SharedIndex(SharedIndex&& other) noexcept;
  SharedIndex& operator=(SharedIndex&&) = delete;

  /// The published header, if both copies are equal and verify. Nothing while somebody publishes (only
  /// without WAL_WRITE_LOCK), or if the index needs to be recovered.
  std::optional<sqlite::WalIndexHeader> header() const;
  /// Makes `header` what readers see from now on: copy 2, barrier, copy 1.
  void publish(const sqlite::WalIndexHeader& header);

  /// Number of frames that are in the database file already (nBackfill).
  std::uint32_t backfilled() const;
  /// Resets checkpoint state and read marks, as at the start of a new WAL generation. Needs READ1..READ4 too.
  void reset_checkpoint_info();

  /// Makes sure that frames up to `frame` can be inserted without failing for lack of space.
  Result<void> reserve(std::uint32_t frame);
  /// Enters `frame`, whose region is reserved and which is the successor of the last one inserted or
  /// published. Entries of abandoned frames from `frame` on are removed. kCorrupt if the table is full, which
  /// a sound one never is.
  Result<void> insert(std::uint32_t frame, Pgno pgno);

 private:
  explicit SharedIndex(int shm) : shm_(shm) {}
  Result<void> map_next_region();

  const int shm_;
  std::uint8_t* first_ = nullptr;       // region 0, for threads that must not look at regions_
  std::vector<std::uint8_t*> regions_;  // each kIndexRegionSize bytes
};

}  // namespace rillfs::apply
