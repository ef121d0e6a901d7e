#include "fs/expected_pages.h"

#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr std::size_t kMismatchesMax = 16;
}

ExpectedPages::ExpectedPages(std::uint64_t offset, std::size_t size, std::uint32_t page_size)
    : page_size_(page_size) {
  if (page_size == 0) return;
  const std::uint64_t begin = (offset + page_size - 1) / page_size;
  const std::uint64_t end = (offset + size) / page_size;
  if (end <= begin || end > kPgnoMax.value) return;
  skip_ = static_cast<std::size_t>(begin * page_size - offset);
  first_ = Pgno{static_cast<std::uint32_t>(begin + 1)};
  sums_.assign(static_cast<std::size_t>(end - begin), 0);
}

std::vector<ExpectedPages::Mismatch> ExpectedPages::mismatches(Bytes bytes) const {
  std::vector<Mismatch> found;
  for (std::size_t i = 0; i < sums_.size() && found.size() < kMismatchesMax; ++i) {
    const std::size_t at = skip_ + i * page_size_;
    if (sums_[i] == 0) continue;
    const Pgno pgno{first_.value + static_cast<std::uint32_t>(i)};
    const bool there = at + page_size_ <= bytes.size();
    const Checksum sum = there ? ltx::page_checksum(pgno, bytes.subspan(at, page_size_)) : Checksum{};
    if (sum.value != sums_[i]) found.push_back({pgno, Checksum{sums_[i]}, sum});
  }
  return found;
}

}  // namespace rillfs
