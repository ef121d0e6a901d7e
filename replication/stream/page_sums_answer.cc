#include "replication/stream/page_sums_answer.h"

#include <xxhash.h>

#include <algorithm>

#include "replication/wire/limits.h"

namespace rillfs::stream {

namespace {

std::uint64_t sum_of(std::span<const std::uint64_t> pages) {
  if (pages.size() == 1) return pages[0];
  Buffer bytes(pages.size() * 8);
  for (std::size_t i = 0; i < pages.size(); ++i) store_be(bytes.data() + i * 8, pages[i]);
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace

Result<std::vector<PageRun>> runs_of(const wire::SumsWanted& wanted) {
  std::vector<PageRun> runs;
  std::uint64_t end = 1;
  std::uint64_t total = 0;
  for (const auto& run : wanted.runs()) {
    total += run.count();
    const bool ascends = run.first() >= end && run.count() > 0;
    end = std::uint64_t{run.first()} + run.count();
    if (!ascends || end > std::uint64_t{UINT32_MAX} || total > wire::kComparedPageCountMax)
      return make_error(ErrorCode::kInvalid,
                        "a question about sums of pages that do not ascend or are too many");
    runs.push_back({Pgno{run.first()}, run.count()});
  }
  if (runs.empty() || wanted.range() == 0 || wanted.range() > wire::kSumRangeMax)
    return make_error(ErrorCode::kInvalid,
                      "a question about sums of no pages, or of ranges of " + std::to_string(wanted.range()));
  return runs;
}

std::uint32_t sum_count(std::uint32_t page_count, std::uint32_t range) {
  return (page_count + range - 1) / range;
}

void append_sums(std::span<const std::uint64_t> pages, std::uint32_t range, Buffer& out) {
  for (std::size_t at = 0; at < pages.size(); at += range) {
    const std::size_t offset = out.size();
    out.resize(offset + 8);
    store_be(out.data() + offset, sum_of(pages.subspan(at, std::min<std::size_t>(range, pages.size() - at))));
  }
}

}  // namespace rillfs::stream
