#include "fs/pages_ahead.h"

#include <bit>

namespace rillfs {

void PagesAhead::changed(const std::vector<PageChange>& changes, Txid txid) {
  ChangeSet& added = waiting_.emplace_back(ChangeSet{txid, {}});
  added.pages.reserve(changes.size());
  for (const PageChange& change : changes) {
    added.pages.push_back(change.pgno);
    newest_[change.pgno] = txid;
  }
  // Applying may wait for long while the same pages change again and again: what later change sets have again
  // is forgotten whenever their number has doubled.
  if (!std::has_single_bit(waiting_.size())) return;
  for (ChangeSet& set : waiting_)
    std::erase_if(set.pages, [&](Pgno pgno) { return newest_.at(pgno) != set.txid; });
  std::erase_if(waiting_, [](const ChangeSet& set) { return set.pages.empty(); });
}

void PagesAhead::replaced(const Position& position) {
  waiting_.clear();
  newest_.clear();
  snapshot_ = position;
  snapshot_applied_ = false;
}

void PagesAhead::applied(const Position& position) {
  if (snapshot_ && position.same_place(*snapshot_)) snapshot_applied_ = true;
}

void PagesAhead::file_holds(const Position& position) {
  if (snapshot_ && !snapshot_applied_ && !position.same_place(*snapshot_)) return;
  snapshot_.reset();
  while (!waiting_.empty() && waiting_.front().txid <= position.txid) {
    for (Pgno pgno : waiting_.front().pages) {
      auto it = newest_.find(pgno);
      if (it != newest_.end() && it->second == waiting_.front().txid) newest_.erase(it);
    }
    waiting_.pop_front();
  }
}

}  // namespace rillfs
