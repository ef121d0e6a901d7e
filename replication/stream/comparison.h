// The primary's side of a snapshot by difference: what to ask the replica, and which pages to send it.
//
// Window by window, in ascending order: sums of ranges first; of the ranges that are different, sums of
// pages; then the pages that are different. A replica's pages that are the same stay what they are, as of the
// moment of the comparison: fuzzy, as every snapshot, and made exact by the change sets that follow.
//
// Memory: a window's runs, and its sums while an answer is compared.
//
// Threads: one at a time. May block on disk reads.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "replication/stream/databases.h"
#include "replication/stream/page_sums_answer.h"

namespace rillfs::stream {

class Comparison {
 public:
  /// A sum of so many pages finds a changed one cheaply whether few or 1 % of all have changed.
  static constexpr std::uint32_t kRange = 16;

  explicit Comparison(std::unique_ptr<PageSource> pages);

  const PageSource& pages() const { return *pages_; }
  std::uint32_t page_size() const { return page_size_; }  ///< at the start
  /// Before this page all is settled: the same, or sent.
  Pgno settled() const { return window_; }
  bool waits_for_answer() const { return request_ != 0; }
  bool has_pages() const { return !different_.empty(); }
  /// Nothing is left to compare. Only where it neither waits nor has pages.
  bool done() const;

  /// The next question, under this number. Only where it neither waits, nor has pages, nor is done.
  wire::Message ask(DatabaseId id, std::uint64_t request);
  /// kInvalid for another number of sums than was asked for. An answer to another question is passed over.
  Result<void> answered(std::uint64_t request, Bytes sums);
  /// The next page to send; nothing at the end of the window. After kBusy it is the same page again.
  Result<std::optional<SnapshotCursor::Page>> next();

 private:
  std::vector<PageRun> compare(Bytes sums) const;
  void end_window();

  const std::unique_ptr<PageSource> pages_;
  const std::uint32_t page_size_;
  Pgno window_{1};      // first page of the present window
  Pgno window_end_{1};  // after its last page
  std::uint64_t request_ = 0;
  std::vector<PageRun> asked_;
  std::uint32_t range_ = 0;         // pages a sum, in what was asked last; 0: nothing of this window yet
  std::vector<PageRun> suspects_;   // ranges whose pages are still to be asked for
  std::vector<PageRun> different_;  // last first
};

}  // namespace rillfs::stream
