// LTX files that follow each other, merged into one that leads as far: each page once, as the last of them
// has it.
//
// A page's LZ4 block is carried over as it is. What is merged is not verified as a whole: a page that has
// been damaged gets into the merged file, whose post-apply checksum it then does not fit.
//
// Threads: one. Memory: twice the compressed pages that count, and a little for each.
#pragma once

#include <unordered_map>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/ltx/header.h"

namespace rillfs::ltx {

class Compactor {
 public:
  /// Takes `file`, a whole LTX file. False, and nothing is taken, unless it is the successor of the last one
  /// and of a kind that can be merged: v3/block, with checksums, the same page size, no snapshot, no
  /// deletion. kCorrupt, and nothing is taken, if its frames do not hold together.
  Result<bool> add(Bytes file);

  std::size_t count() const { return count_; }  ///< files
  /// The merged file is no larger than this, bytes.
  std::size_t size_max() const;
  /// Of its pages, expanded: bytes.
  std::size_t expanded_size() const { return blocks_.size() * last_.page_size; }

  /// The merged file, after at least one add(). kCorrupt if a page does not expand.
  Result<Buffer> finish() const;

 private:
  /// A page's LZ4 block, in bytes_.
  struct Block {
    std::size_t offset = 0;
    std::size_t size = 0;
  };
  bool fits(const Header& header) const;
  void put(Pgno pgno, Bytes block);
  void remove_what_no_longer_counts();

  Buffer bytes_;  ///< blocks, and between them those whose pages came again
  std::unordered_map<Pgno, Block> blocks_;
  std::size_t size_ = 0;  ///< bytes of blocks whose pages did not
  std::size_t count_ = 0;
  Header first_;
  Header last_;
  Trailer end_;  ///< of the last one
};

}  // namespace rillfs::ltx
