// A log's records for somebody who may be far behind: what waits is merged, so that he gets a page that many
// of them changed once, and few records instead of many.
//
// Records come one by one while less than kFarBehind transactions wait behind them. A merged record is one of
// the format (min to max txid), in memory; the log itself stays as it is.
//
// Threads and errors: as LogReader's. kNotInLog also for a merged page that is damaged in the log.
#pragma once

#include "replication/log/reader.h"
#include "replication/ltx/compactor.h"

namespace rillfs::log {

class CompactingReader {
 public:
  static constexpr std::uint64_t kFarBehind = 32;  ///< transactions
  /// Of a merged image, and of each that becomes part of one, bytes: little enough for a replica to keep it
  /// in memory. The memory that it needs is three times as much, until its last byte has been read.
  static constexpr std::size_t kMergedMax = 960 << 10;
  /// Of its pages, expanded, bytes: a replica makes them visible at once.
  static constexpr std::size_t kExpandedMax = std::size_t{4} << 20;
  /// Of all that become one, bytes: next() takes as long as it takes to read them.
  static constexpr std::size_t kReadMax = std::size_t{4} << 20;

  /// Goes on where `reader` stands.
  explicit CompactingReader(LogReader reader) : reader_(std::move(reader)) {}

  struct Record {
    RecordInfo info;
    std::int64_t oldest_ms = 0;  ///< commit time of the first transaction; info has the last one's
    std::uint64_t log_size = 0;  ///< bytes of the log that it stands for
    bool is_merged() const { return info.min_txid != info.max_txid; }
  };
  /// Moves to the next record; nothing when all up to `published` has been read.
  Result<std::optional<Record>> next(Txid published);
  /// The next bytes of the current record's image; 0 at its end.
  Result<std::size_t> read(MutableBytes into);

 private:
  static bool can_be_merged(const RecordInfo& record);
  Result<Record> merge(const RecordInfo& first, Txid published);
  /// As many as can be merged, from `first` on, at which the reader stands; the last of them. What comes next
  /// waits. With one only, `image_` is its image; none: it cannot be read or merged.
  RecordInfo collect(const RecordInfo& first, Txid published, ltx::Compactor& compactor);
  /// The image of the record at which the reader stands.
  Result<void> read_whole(const RecordInfo& record, Buffer& image) const;

  LogReader reader_;
  std::optional<RecordInfo> waiting_;  ///< the reader stands there, and it has not been given
  bool in_memory_ = false;             ///< the current image; else it is the reader's
  Buffer image_;                       ///< until all of it has been read
  std::size_t image_read_ = 0;
};

}  // namespace rillfs::log
