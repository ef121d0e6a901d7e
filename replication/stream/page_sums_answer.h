// Sums of pages as they travel, for the snapshot by difference: a question names runs of pages and how many
// of them go into a sum, the answer is one number of 8 bytes after the other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::stream {

struct PageRun {
  Pgno first;
  std::uint32_t count = 0;
  Pgno end() const { return Pgno{first.value + count}; }  ///< after the last one
  friend bool operator==(const PageRun&, const PageRun&) = default;
};

/// The runs of a question. kInvalid if they do not ascend, or an answer would be too long.
Result<std::vector<PageRun>> runs_of(const wire::SumsWanted& wanted);

/// Appends the sums of one run, whose pages have the checksums `pages`, `range` pages each; the last may be
/// of fewer. A sum of one page is its checksum. A hash, not an XOR: two pages that have changed places must
/// show.
void append_sums(std::span<const std::uint64_t> pages, std::uint32_t range, Buffer& out);

/// How many sums that makes.
std::uint32_t sum_count(std::uint32_t page_count, std::uint32_t range);

}  // namespace rillfs::stream
