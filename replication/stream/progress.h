// How far a replica is: what both ends of a stream know and show.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "replication/base/types.h"

namespace rillfs::stream {

/// a - b and a + b, or the nearest there is: a peer's clock and the times in its log can be anything.
inline std::int64_t bounded_difference(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (!__builtin_sub_overflow(a, b, &result)) return result;
  return b < 0 ? INT64_MAX : INT64_MIN;
}
inline std::int64_t bounded_sum(std::int64_t a, std::int64_t b) {
  std::int64_t result;
  if (!__builtin_add_overflow(a, b, &result)) return result;
  return b > 0 ? INT64_MAX : INT64_MIN;
}

struct SnapshotProgress {
  bool active = false;
  std::uint32_t pages_done = 0;   ///< sent; of one by difference, sent or found to be the same
  std::uint32_t pages_total = 0;  ///< at its start; the database may have grown since
  std::uint64_t bytes_per_second = 0;
  std::int64_t remaining_ms = 0;  ///< estimated; 0 when not known
};

struct DatabaseProgress {
  DatabaseId id;
  std::string path;
  Txid newest;              ///< on the primary, as far as this node knows
  Txid logged;              ///< in the replica's log
  Txid applied;             ///< visible to the replica's readers
  std::int64_t lag_ms = 0;  ///< 0: everything applied; else the age of the oldest commit that is not
  std::uint64_t lag_transactions = 0;
  std::uint64_t lag_bytes = 0;  ///< of the primary's log
  SnapshotProgress snapshot;
};

/// Change sets that are on their way: sent (or received) and not applied. Memory is bounded: beyond
/// kEntryCountMax neighbours are merged, keeping the older time and the newer txid, so that lag is never
/// shown too small. Threads: one.
class PendingChangeSets {
 public:
  static constexpr std::size_t kEntryCountMax = 1024;
  void add(Txid txid, std::int64_t timestamp_ms, std::uint64_t log_offset);
  /// Everything up to `txid` is applied.
  void done(Txid txid);
  void clear() { entries_.clear(); }
  std::size_t size() const { return entries_.size(); }
  /// Commit time of the oldest.
  std::optional<std::int64_t> oldest_ms() const;
  /// Log offset up to which all is done, once one has been done.
  std::optional<std::uint64_t> done_offset() const { return done_offset_; }
  /// What is done without having been added, for the start.
  void set_done_offset(std::uint64_t offset) { done_offset_ = offset; }

 private:
  struct Entry {
    Txid txid;
    std::int64_t timestamp_ms;
    std::uint64_t log_offset;
  };
  std::deque<Entry> entries_;
  std::optional<std::uint64_t> done_offset_;
};

/// Measures one snapshot. Threads: one.
class SnapshotMeter {
 public:
  /// Times are Clock::elapsed_ms.
  void begin(std::uint32_t page_count, std::uint32_t page_size, std::int64_t now_ms);
  void pages(std::uint32_t count) { progress_.pages_done += count; }
  /// Of a snapshot by difference, in which sent pages count only here.
  void settled(Pgno next) {
    const std::uint32_t before = std::min(std::max(next.value, 1U) - 1, progress_.pages_total);
    progress_.pages_done = std::max(progress_.pages_done, before);
  }
  void end() { progress_.active = false; }
  SnapshotProgress progress(std::int64_t now_ms) const;

 private:
  SnapshotProgress progress_;
  std::uint32_t page_size_ = 0;
  std::int64_t begun_ms_ = 0;
};

}  // namespace rillfs::stream
