// What a database's content is as of a position: one checksum a page, and what they sum to.
//
// Two sums are kept. The rolling checksum is LTX's: an XOR over page checksums, which cannot see two pages
// swapped, since each page's CRC is affine in its content. The content hash adds up a hash of (page number,
// page checksum) instead, so that content is bound to its place; it costs no memory beyond the page
// checksums.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "replication/base/types.h"
#include "replication/log/content_hash.h"

namespace rillfs {

/// One page that a change set brings, by its checksum.
struct PageChange {
  Pgno pgno;
  Checksum checksum;
};

/// A value. 8 bytes of memory a page.
class Content {
 public:
  Content() = default;
  /// Adopts the checksums of pages 1..n as they are stored (0 for the lock page) and sums them up.
  Content(Position position, std::uint32_t page_size, std::vector<std::uint64_t> sums);

  const Position& position() const { return position_; }
  std::uint32_t page_size() const { return page_size_; }  ///< bytes; 0 before the first commit
  Pgno page_count() const { return Pgno{static_cast<std::uint32_t>(sums_.size())}; }
  /// The rolling checksum counted from the pages' sums as they were applied; equals the position's unless the
  /// position was a lie.
  Checksum sum() const { return sum_; }
  const log::ContentHash& hash() const { return hash_; }
  /// The checksum of a page; absent beyond the end and for the lock page.
  Checksum page(Pgno pgno) const;
  const std::vector<std::uint64_t>& sums() const { return sums_; }

  /// Whether a change set brings every page by which it makes the database longer, as it must: `count` alone
  /// is only what somebody says. `changes` ascend.
  bool grows_completely(const std::vector<PageChange>& changes, Pgno count, std::uint32_t page_size) const;

  /// What this content becomes with `changes` and `count` pages, as position checksum and hash, without
  /// changing it. Pages beyond `count` go; every page in (old count, count] must be among the changes.
  struct Sums {
    Checksum rolling = Checksum::empty();
    log::ContentHash hash;
  };
  Sums preview(const std::vector<PageChange>& changes, Pgno count, std::uint32_t page_size) const;
  /// Takes the changes over; `position` is where they lead.
  void apply(const std::vector<PageChange>& changes, Pgno count, std::uint32_t page_size,
             const Position& position);

 private:
  void set(Pgno pgno, Checksum checksum);

  Position position_;
  std::uint32_t page_size_ = 0;
  std::vector<std::uint64_t> sums_;
  log::ContentHash hash_;
  Checksum sum_ = Checksum::empty();
};

}  // namespace rillfs
