// Where a change set's pages come from, one at a time, so that a change set may be larger than memory.
#pragma once

#include <optional>

#include "fs/sqlite/lock_bytes.h"
#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::apply {

struct Page {
  Pgno pgno;
  Bytes data;  ///< one page; valid until the next call of the source
};

/// Yields the pages of one change set in ascending order, then nothing. Threads: one.
class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual Result<std::optional<Page>> next() = 0;
};

/// Passes on the pages of `source`, but only such as may be in a change set that ends with a database of
/// `commit` pages: ascending, within the size, of the right length, never the lock page. kCorrupt otherwise.
class CheckedPages final : public PageSource {
 public:
  CheckedPages(PageSource& source, Pgno commit, std::uint32_t page_size)
      : source_(source), commit_(commit), page_size_(page_size) {}

  Result<std::optional<Page>> next() override {
    RILL_ASSIGN(const std::optional<Page> page, source_.next());
    if (!page) return std::optional<Page>();
    const bool good = page->pgno > last_ && page->pgno <= commit_ && page->data.size() == page_size_ &&
                      page->pgno != sqlite::lock_page(page_size_);
    if (!good)
      return make_error(ErrorCode::kCorrupt, "change set: page " + std::to_string(page->pgno.value) + " of " +
                                                 std::to_string(page->data.size()) + " bytes after page " +
                                                 std::to_string(last_.value) + ", database of " +
                                                 std::to_string(commit_.value) + " pages of " +
                                                 std::to_string(page_size_) + " bytes");
    last_ = page->pgno;
    return std::optional<Page>(*page);
  }

 private:
  PageSource& source_;
  const Pgno commit_;
  const std::uint32_t page_size_;
  Pgno last_{0};
};

}  // namespace rillfs::apply
