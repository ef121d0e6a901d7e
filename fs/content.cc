#include "fs/content.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "replication/base/bytes.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {

/// What a page adds to the content hash: its checksum stands for its bytes.
void toggle(log::ContentHash& hash, Pgno pgno, std::uint64_t sum, bool add) {
  if (sum == 0) return;
  std::uint8_t bytes[8];
  store_be(bytes, sum);
  if (add) {
    hash.add(pgno, bytes);
  } else {
    hash.remove(pgno, bytes);
  }
}

}  // namespace

Content::Content(Position position, std::uint32_t page_size, std::vector<std::uint64_t> sums)
    : position_(position), page_size_(page_size), sums_(std::move(sums)) {
  for (std::size_t i = 0; i < sums_.size(); ++i) {
    if (sums_[i] == 0) continue;
    toggle(hash_, Pgno{static_cast<std::uint32_t>(i + 1)}, sums_[i], true);
    sum_ = sum_.toggled(Checksum{sums_[i]});
  }
}

Checksum Content::page(Pgno pgno) const {
  if (pgno.value == 0 || pgno.value > sums_.size()) return Checksum{};
  return Checksum{sums_[pgno.value - 1]};
}

bool Content::grows_completely(const std::vector<PageChange>& changes, Pgno count,
                               std::uint32_t page_size) const {
  const Pgno old_count = page_size == page_size_ ? page_count() : Pgno{};
  if (count <= old_count) return true;
  const Pgno lock = ltx::lock_pgno(page_size);
  const std::uint32_t expected = count.value - old_count.value - (lock > old_count && lock <= count ? 1 : 0);
  const auto present = std::count_if(changes.begin(), changes.end(),
                                     [&](const PageChange& change) { return change.pgno > old_count; });
  return static_cast<std::uint64_t>(present) == expected;
}

Content::Sums Content::preview(const std::vector<PageChange>& changes, Pgno count,
                               std::uint32_t page_size) const {
  Sums sums;
  // Another page size: every page is another one, and the changes hold them all.
  const bool anew = page_size != page_size_;
  if (!anew) {
    sums.rolling = sum_;
    sums.hash = hash_;
    for (std::uint32_t i = count.value; i < sums_.size(); ++i) {
      if (sums_[i] == 0) continue;
      sums.rolling = sums.rolling.toggled(Checksum{sums_[i]});
      toggle(sums.hash, Pgno{i + 1}, sums_[i], false);
    }
  }
  for (const PageChange& change : changes) {
    const Checksum old = anew ? Checksum{} : page(change.pgno);
    if (old.present()) {
      sums.rolling = sums.rolling.toggled(old);
      toggle(sums.hash, change.pgno, old.value, false);
    }
    sums.rolling = sums.rolling.toggled(change.checksum);
    toggle(sums.hash, change.pgno, change.checksum.value, true);
  }
  return sums;
}

void Content::apply(const std::vector<PageChange>& changes, Pgno count, std::uint32_t page_size,
                    const Position& position) {
  const Sums after = preview(changes, count, page_size);
  if (page_size != page_size_) sums_.clear();
  page_size_ = page_size;
  sums_.resize(count.value, 0);
  for (const PageChange& change : changes) set(change.pgno, change.checksum);
  hash_ = after.hash;
  sum_ = after.rolling;
  position_ = position;
}

void Content::set(Pgno pgno, Checksum checksum) {
  assert(pgno.value >= 1 && pgno.value <= sums_.size());
  sums_[pgno.value - 1] = checksum.value;
}

}  // namespace rillfs
