// What encoder and decoder share about the body of an LTX file.
//
//   v3/block   per page: pgno (4), flags = 1 (2), N (4), N bytes of one raw LZ4 block;   end: 6 zero bytes
//   v3/frame   per page: pgno (4), flags = 0 (2), one LZ4 frame;                         end: 6 zero bytes
//   v2         per page: pgno (4), one LZ4 frame;                                        end: 4 zero bytes
//   v1         per page: pgno (4), the page;  end: 4 zero bytes;  with header flag 1 all of it is one LZ4
//   frame
//
// Then, except in v1, the page index: for each page the uvarints pgno, offset of its frame in the file, size
// of its frame; one 0 byte; the number of those bytes (8).
//
// The file checksum runs over header, page headers (and N), *uncompressed* pages, the zeroes, the index with
// its size, and the post-apply checksum.
#pragma once

#include <optional>

#include "replication/ltx/checksum.h"
#include "replication/ltx/header.h"

namespace rillfs::ltx {

inline constexpr std::size_t kPageHeaderSize = 6;
inline constexpr std::size_t kBlockHeaderSize = kPageHeaderSize + 4;
inline constexpr std::uint16_t kPageFlagBlock = 1;
inline constexpr std::size_t kIndexEntrySizeMax = 5 + 10 + 10;

/// One entry of the page index, encoded.
struct IndexEntry {
  IndexEntry(Pgno pgno, std::uint64_t offset, std::uint64_t size);
  Bytes bytes() const { return Bytes(data_, size_); }

 private:
  void put(std::uint64_t value);
  std::uint8_t data_[kIndexEntrySizeMax];
  std::size_t size_ = 0;
};

/// Expands one raw LZ4 block into `page`, exactly. False if it is none of such a page.
bool expand_block(Bytes block, MutableBytes page);
/// No block of a page of this size is larger, bytes.
std::size_t block_size_max(std::uint32_t page_size);

/// The order that pages must come in: strictly ascending, none beyond the commit size, never the lock page;
/// in a snapshot all of them. Also sums a snapshot's pages.
class PageOrder {
 public:
  explicit PageOrder(const Header& header) : header_(header) {}
  /// The page comes next. kInvalid, naming the rule, if it may not.
  Result<void> add(Pgno pgno);
  /// To be called with every page's content: snapshots with checksums are summed.
  void sum(Pgno pgno, Bytes page);
  /// No page follows. kInvalid if a snapshot lacks some, or does not sum to `post_apply`.
  Result<void> finish(Checksum post_apply) const;

 private:
  Pgno successor(Pgno pgno) const;
  Header header_;
  Pgno last_;
  Checksum rolling_ = Checksum::empty();
};

}  // namespace rillfs::ltx
