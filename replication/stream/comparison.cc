#include "replication/stream/comparison.h"

#include <algorithm>

#include "replication/wire/limits.h"

namespace rillfs::stream {

namespace {

/// The replica reads a window's pages and writes them, and nothing else of the database moves meanwhile.
constexpr std::uint32_t kWindowSizeMax = 128u << 20;

std::uint32_t window_page_count(std::uint32_t page_size) {
  return std::min(wire::kComparedPageCountMax, kWindowSizeMax / page_size);
}

}  // namespace

Comparison::Comparison(std::unique_ptr<PageSource> pages)
    : pages_(std::move(pages)), page_size_(pages_->page_size()) {}

bool Comparison::done() const {
  // With another page size the change set that made it so has every page.
  return pages_->page_size() != page_size_ || (suspects_.empty() && window_ > pages_->page_count());
}

wire::Message Comparison::ask(DatabaseId id, std::uint64_t request) {
  if (suspects_.empty()) {
    // Since it was found not to be done, the database may have become shorter.
    const std::uint32_t left = std::max(pages_->page_count(), window_).value - window_.value + 1;
    asked_ = {{window_, std::min(left, window_page_count(page_size_))}};
    window_end_ = asked_[0].end();
    range_ = kRange;
  } else {
    asked_ = std::exchange(suspects_, {});
    range_ = 1;
  }
  request_ = request;
  wire::Message message;
  auto* wanted = message.mutable_sums_wanted();
  wanted->set_id(id.value);
  wanted->set_request(request);
  wanted->set_range(range_);
  for (const PageRun& run : asked_) {
    auto* to = wanted->add_runs();
    to->set_first(run.first.value);
    to->set_count(run.count);
  }
  return message;
}

Result<void> Comparison::answered(std::uint64_t request, Bytes sums) {
  if (request_ == 0 || request != request_) return {};
  std::uint64_t expected = 0;
  for (const PageRun& run : asked_) expected += sum_count(run.count, range_);
  if (sums.size() != expected * 8)
    return make_error(ErrorCode::kInvalid, std::to_string(sums.size()) + " bytes of sums; " +
                                               std::to_string(expected * 8) + " were asked for");
  request_ = 0;
  if (pages_->page_size() != page_size_) return {};
  auto differing = compare(sums);
  if (range_ != 1) {
    suspects_ = std::move(differing);
  } else {
    different_.assign(differing.rbegin(), differing.rend());
  }
  if (suspects_.empty() && different_.empty()) end_window();
  return {};
}

/// The runs of pages under the sums that are not ours, neighbours joined.
std::vector<PageRun> Comparison::compare(Bytes sums) const {
  const Pgno first = asked_.front().first;
  const auto ours = pages_->sums(first, asked_.back().end().value - first.value);
  std::vector<PageRun> differing;
  Buffer expected;
  std::size_t at = 0;
  for (const PageRun& run : asked_) {
    expected.clear();
    append_sums(std::span(ours).subspan(run.first.value - first.value, run.count), range_, expected);
    for (std::uint32_t offset = 0; offset < run.count; offset += range_, at += 8) {
      if (std::equal(sums.begin() + static_cast<std::ptrdiff_t>(at),
                     sums.begin() + static_cast<std::ptrdiff_t>(at + 8),
                     expected.begin() + offset / range_ * 8))
        continue;
      const Pgno from{run.first.value + offset};
      const std::uint32_t count = std::min(range_, run.count - offset);
      if (!differing.empty() && differing.back().end() == from) {
        differing.back().count += count;
      } else {
        differing.push_back({from, count});
      }
    }
  }
  return differing;
}

void Comparison::end_window() { window_ = window_end_; }

Result<std::optional<SnapshotCursor::Page>> Comparison::next() {
  while (!different_.empty() && pages_->page_size() == page_size_) {
    PageRun& run = different_.back();
    const Pgno pgno = run.first;
    RILL_ASSIGN(auto page, pages_->read(pgno));
    run.first = pgno.next();
    if (--run.count == 0) different_.pop_back();
    if (different_.empty()) end_window();
    if (page) return std::optional(SnapshotCursor::Page{pgno, *page});
  }
  if (!different_.empty()) different_.clear();
  return std::optional<SnapshotCursor::Page>();
}

}  // namespace rillfs::stream
