#include "fs/page_sums.h"

#include <algorithm>

namespace rillfs {

void PageSums::set(Pgno pgno, Checksum checksum) {
  const std::uint32_t index = pgno.value - 1;
  blocks_[index / kBlock][index % kBlock] = checksum.value;
  count_ = std::max(count_, pgno);
}

Checksum PageSums::get(Pgno pgno) const {
  const std::uint32_t index = pgno.value - 1;
  auto block = blocks_.find(index / kBlock);
  return Checksum{block == blocks_.end() ? 0 : block->second[index % kBlock]};
}

void PageSums::resize(Pgno count) {
  count_ = count;
  const std::uint32_t keep = count.value % kBlock;  // of the last block
  blocks_.erase(blocks_.lower_bound(count.value / kBlock + (keep != 0 ? 1 : 0)), blocks_.end());
  if (auto last = blocks_.find(count.value / kBlock); last != blocks_.end())
    std::fill(last->second.begin() + keep, last->second.end(), 0);
}

Checksum PageSums::rolling() const {
  Checksum rolling = Checksum::empty();
  for (const auto& [number, block] : blocks_) {
    for (std::uint64_t sum : block) {
      if (sum != 0) rolling = rolling.toggled(Checksum{sum});
    }
  }
  return rolling;
}

bool PageSums::complete(Pgno lock) const {
  std::uint64_t present = lock <= count_ ? 1 : 0;
  for (const auto& [number, block] : blocks_)
    present += kBlock - static_cast<std::uint64_t>(std::count(block.begin(), block.end(), 0));
  return present == count_.value;
}

std::vector<std::uint64_t> PageSums::flat() const {
  std::vector<std::uint64_t> sums(count_.value, 0);
  for (const auto& [number, block] : blocks_) {
    const std::size_t from = std::size_t{number} * kBlock;
    std::copy_n(block.begin(), std::min<std::size_t>(kBlock, sums.size() - from),
                sums.begin() + static_cast<std::ptrdiff_t>(from));
  }
  return sums;
}

}  // namespace rillfs
