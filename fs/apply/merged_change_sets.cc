#include "fs/apply/merged_change_sets.h"

#include <algorithm>

namespace rillfs::apply {

bool MergedChangeSets::fits(const log::RecordInfo& record) const {
  // A snapshot replaces what is before it, and neither an empty database nor another page size has anything
  // in common with it.
  if (record.is_snapshot() || record.commit.value == 0 || record.image_size > kBytesMax) return false;
  return empty() || (record.page_size == page_size_ && count_ < kCountMax);
}

Result<bool> MergedChangeSets::add(PageSource& pages, const log::RecordInfo& record) {
  if (!fits(record)) return false;
  if (empty()) page_size_ = record.page_size;
  std::vector<Pgno> pgnos;
  auto read = this->read(pages, record, pgnos);
  if (read && *read) {
    take(pgnos);
    last_ = record;
    ++count_;
  }
  bytes_.resize(slots_.size() * page_size_);
  return read;
}

Result<bool> MergedChangeSets::read(PageSource& pages, const log::RecordInfo& record,
                                    std::vector<Pgno>& pgnos) {
  CheckedPages checked(pages, record.commit, page_size_);
  for (;;) {
    RILL_ASSIGN(const std::optional<Page> page, checked.next());
    if (!page) return true;
    if (bytes_.size() + page_size_ > kBytesMax) return false;
    append_bytes(bytes_, page->data);
    pgnos.push_back(page->pgno);
  }
}

/// The pages behind those in slots: into the slots of their predecessors, or new ones.
void MergedChangeSets::take(const std::vector<Pgno>& pgnos) {
  std::size_t from = slots_.size();
  for (const Pgno pgno : pgnos) {
    const std::size_t to = slots_.try_emplace(pgno, slots_.size()).first->second;
    if (to != from) std::copy_n(slot(from), page_size_, slot(to));
    ++from;
  }
}

void MergedChangeSets::clear() {
  count_ = 0;
  bytes_.clear();
  slots_.clear();
  order_.clear();
}

void MergedChangeSets::rewind() {
  given_ = 0;
  order_.clear();
  order_.reserve(slots_.size());
  // A page that was cut off comes again with the change set by which the database grows again.
  for (const auto& [pgno, number] : slots_)
    if (pgno <= last_.commit) order_.push_back(pgno);
  std::sort(order_.begin(), order_.end());
}

Result<std::optional<Page>> MergedChangeSets::next() {
  if (given_ == order_.size()) return std::optional<Page>();
  const Pgno pgno = order_[given_++];
  return std::optional<Page>(Page{pgno, Bytes(slot(slots_.at(pgno)), page_size_)});
}

}  // namespace rillfs::apply
