// Reading a log's directory when it is opened: which segments are there, where the log ends, what is torn.
// Changes nothing on disk.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "replication/base/file_system.h"
#include "replication/log/segment.h"

namespace rillfs::log {

struct SegmentInfo {
  Txid first;                          ///< txid in its name
  std::uint64_t size = 0;              ///< bytes, header included
  Txid last_txid;                      ///< of its last record; `first` - 1 if it has none
  std::int64_t last_timestamp_ms = 0;  ///< of its last record
};

/// Where the log ended before its last record.
struct Undo {
  LogState end;
  std::uint64_t segment_size = 0;  ///< of the segment with the record
};

struct Scan {
  std::vector<SegmentInfo> segments;  ///< ascending; the last may have to be cut to its `size`: see `cut`
  LogState end;
  std::optional<Undo> undo;       ///< nothing if the last segment has no record
  bool cut = false;               ///< the last segment's file goes on after its `size`
  std::uint64_t torn_bytes = 0;   ///< of that, what is no zero written ahead; or all of `torn_segment`
  std::string torn_segment_path;  ///< a last segment whose header is torn: to be removed; empty if none
};

/// The first txids of the directory's segments, ascending.
Result<std::vector<Txid>> list_segments(FileSystem& files, const std::string& directory);

/// Records up to `verify_from` are trusted by their envelopes (whole segments by their headers), the others
/// are decoded. kCorrupt, with file, offset and what to do, for everything that is not a torn tail.
Result<Scan> scan(FileSystem& files, const std::string& directory, DatabaseId id, Txid verify_from);

}  // namespace rillfs::log
