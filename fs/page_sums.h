// The checksums of a database's pages while they come in, in whatever order and with whatever gaps.
//
// Memory grows with the pages that have come, not with their numbers: a peer that sends page 4,294,967,280
// first costs one block.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "replication/base/types.h"

namespace rillfs {

/// Threads: one at a time.
class PageSums {
 public:
  void set(Pgno pgno, Checksum checksum);
  /// Absent for what is not there.
  Checksum get(Pgno pgno) const;
  /// The database has `count` pages now: those beyond go.
  void resize(Pgno count);
  void clear() { *this = PageSums(); }
  Pgno count() const { return count_; }
  /// XOR of what is there, as LTX's rolling checksum.
  Checksum rolling() const;
  /// Every page up to the size is there; `lock` is the one that never is.
  bool complete(Pgno lock) const;
  /// One entry a page, 0 for what is not there. Only of what is complete: it has the size's memory.
  std::vector<std::uint64_t> flat() const;

 private:
  static constexpr std::uint32_t kBlock = 64;
  std::map<std::uint32_t, std::array<std::uint64_t, kBlock>> blocks_;  ///< by (pgno - 1) / kBlock
  Pgno count_;
};

}  // namespace rillfs
