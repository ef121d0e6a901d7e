// What the whole pages of one stretch of a database file must be, by their checksums.
#pragma once

#include <cstdint>
#include <vector>

#include "replication/base/bytes.h"
#include "replication/base/types.h"

namespace rillfs {

/// A value.
class ExpectedPages {
 public:
  ExpectedPages() = default;
  /// The whole pages within `size` bytes from `offset` on. Nothing is expected of them yet.
  ExpectedPages(std::uint64_t offset, std::size_t size, std::uint32_t page_size);

  std::uint32_t page_size() const { return page_size_; }
  Pgno first() const { return first_; }
  std::size_t count() const { return sums_.size(); }
  void expect(std::size_t index, Checksum sum) { sums_[index] = sum.value; }

  struct Mismatch {
    Pgno pgno;
    Checksum expected;
    Checksum found;
  };
  /// Pages of `bytes`, which were read from `offset` on, that are not what is expected, or not there at all
  /// although something is expected. The first few.
  std::vector<Mismatch> mismatches(Bytes bytes) const;

 private:
  std::uint32_t page_size_ = 0;
  std::size_t skip_ = 0;  ///< bytes before the first whole page
  Pgno first_{1};
  std::vector<std::uint64_t> sums_;  ///< 0: anything
};

}  // namespace rillfs
