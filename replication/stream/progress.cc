#include "replication/stream/progress.h"

namespace rillfs::stream {

void PendingChangeSets::add(Txid txid, std::int64_t timestamp_ms, std::uint64_t log_offset) {
  entries_.push_back({txid, timestamp_ms, log_offset});
  if (entries_.size() <= kEntryCountMax) return;
  std::deque<Entry> merged;
  for (std::size_t i = 0; i < entries_.size(); i += 2) {
    Entry entry = entries_[i];
    if (i + 1 < entries_.size()) {
      entry.txid = entries_[i + 1].txid;
      entry.log_offset = entries_[i + 1].log_offset;
    }
    merged.push_back(entry);
  }
  entries_.swap(merged);
}

void PendingChangeSets::done(Txid txid) {
  while (!entries_.empty() && entries_.front().txid <= txid) {
    done_offset_ = entries_.front().log_offset;
    entries_.pop_front();
  }
}

std::optional<std::int64_t> PendingChangeSets::oldest_ms() const {
  if (entries_.empty()) return std::nullopt;
  return entries_.front().timestamp_ms;
}

void SnapshotMeter::begin(std::uint32_t page_count, std::uint32_t page_size, std::int64_t now_ms) {
  progress_ = {true, 0, page_count, 0, 0};
  page_size_ = page_size;
  begun_ms_ = now_ms;
}

SnapshotProgress SnapshotMeter::progress(std::int64_t now_ms) const {
  SnapshotProgress progress = progress_;
  std::int64_t elapsed_ms = now_ms - begun_ms_;
  if (!progress.active || elapsed_ms <= 0 || progress.pages_done == 0) return progress;
  std::uint64_t elapsed = static_cast<std::uint64_t>(elapsed_ms);
  progress.bytes_per_second = std::uint64_t{progress.pages_done} * page_size_ * 1000 / elapsed;
  if (progress.pages_total > progress.pages_done)
    progress.remaining_ms = static_cast<std::int64_t>(elapsed * (progress.pages_total - progress.pages_done) /
                                                      progress.pages_done);
  return progress;
}

}  // namespace rillfs::stream
