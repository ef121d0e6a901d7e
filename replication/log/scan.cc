#include "replication/log/scan.h"

#include <algorithm>

#include "replication/ltx/decoder.h"

namespace rillfs::log {
namespace {

constexpr Label kLabel = "log: scan";
constexpr std::size_t kSearchChunk = 256 * 1024;

Error corrupt(const std::string& path, std::uint64_t offset, const std::string& what) {
  return make_error(ErrorCode::kCorrupt,
                    path + ", offset " + std::to_string(offset) + ": " + what +
                        ". Nothing was changed. Check the disk; restore this database's directory from a "
                        "backup, or remove it and let it be copied from another node");
}

/// One segment while it is scanned.
struct Segment {
  std::string path;
  std::unique_ptr<File> file;
  std::uint64_t size = 0;
  Txid first;
};

Result<Segment> open_segment(FileSystem& files, const std::string& directory, Txid first) {
  Segment segment;
  segment.path = directory + "/" + segment_name(first);
  segment.first = first;
  RILL_ASSIGN(segment.file, files.open(segment.path, OpenMode::kRead, kLabel));
  RILL_ASSIGN(segment.size, segment.file->size(kLabel));
  return segment;
}

/// Nothing if the header does not verify.
Result<std::optional<SegmentHeader>> read_header(const Segment& segment, DatabaseId id) {
  std::optional<SegmentHeader> none;
  if (segment.size < kSegmentHeaderSize) return none;
  SegmentHeaderBytes bytes;
  RILL_TRY(segment.file->read_exact_at(bytes, 0, kLabel));
  auto header = parse_segment_header(bytes);
  if (!header && header.error().code == ErrorCode::kCorrupt) return none;
  if (!header) return header.error().with(segment.path);
  if (header->database != id) return corrupt(segment.path, 0, "segment of another database");
  if (header->start.position.txid.next() != segment.first) {
    return corrupt(segment.path, 0, "header and name differ");
  }
  return std::optional<SegmentHeader>(*header);
}

/// The image is the one that the envelope describes, and verifies.
Result<bool> image_verifies(const Segment& segment, std::uint64_t offset, const RecordInfo& record) {
  FileSource source(*segment.file, offset, record.image_size, kLabel);
  auto image = ltx::verify(source, ltx::Format::kV3Block);
  if (!image && image.error().code == ErrorCode::kCorrupt) return false;
  if (!image) return image.error();
  std::uint8_t trailer[ltx::kTrailerSize];
  store_be(&trailer[0], image->trailer.post_apply.value);
  store_be(&trailer[8], image->trailer.file.value);
  return image->trailer.file == record.image_checksum &&
         check_image(record, ltx::encode(image->header), trailer).has_value();
}

/// The record at `offset`, if it is intact and comes after `state`.
Result<std::optional<RecordInfo>> read_record(const Segment& segment, std::uint64_t offset,
                                              const LogState& state, DatabaseId id, Txid verify_from) {
  std::optional<RecordInfo> none;
  if (segment.size - offset < kEnvelopeSize) return none;
  EnvelopeBytes bytes;
  RILL_TRY(segment.file->read_exact_at(bytes, offset, kLabel));
  auto record = parse_envelope(bytes);
  if (!record || record->database != id) return none;
  std::uint64_t size = record_size(record->image_size);
  if (size > segment.size - offset || record->log_offset != state.log_offset + size) return none;
  bool first_of_log = segment.first == record->min_txid && offset == kSegmentHeaderSize;
  if (record->is_snapshot() && !first_of_log) return none;
  if (!check_follows(*record, state)) return none;
  if (record->max_txid <= verify_from) return record;
  RILL_ASSIGN(bool verifies, image_verifies(segment, offset + kEnvelopeSize, *record));
  return verifies ? record : none;
}

/// Whether an intact envelope after `from` says that transaction `lost` was durable.
Result<bool> was_durable(const Segment& segment, std::uint64_t from, Txid lost, DatabaseId id) {
  Buffer chunk(kSearchChunk + kEnvelopeSize);
  for (std::uint64_t offset = from; offset < segment.size; offset += kSearchChunk) {
    RILL_ASSIGN(std::size_t size, segment.file->read_at(chunk, offset, kLabel));
    for (std::size_t at = 0; at < kSearchChunk && at + kEnvelopeSize <= size; at += 8) {
      if (chunk[at] != 'R' || chunk[at + 1] != 'R') continue;
      auto record = parse_envelope(Bytes(chunk).subspan(at));
      if (record && record->database == id && record->synced_txid >= lost) return true;
    }
  }
  return false;
}

/// What a writer puts ahead of its records.
Result<bool> only_zeroes_follow(const Segment& segment, std::uint64_t offset) {
  Buffer chunk(kSearchChunk);
  while (offset < segment.size) {
    RILL_ASSIGN(std::size_t size, segment.file->read_at(chunk, offset, kLabel));
    if (size == 0 || !is_zero(Bytes(chunk).first(size))) return false;
    offset += size;
  }
  return true;
}

class Scanner {
 public:
  Scanner(FileSystem& files, const std::string& directory, DatabaseId id, Txid verify_from)
      : files_(files), directory_(directory), id_(id), verify_from_(verify_from) {}

  Result<Scan> run() {
    RILL_ASSIGN(std::vector<Txid> names, list_segments(files_, directory_));
    for (std::size_t i = 0; i < names.size(); ++i) {
      std::optional<Txid> next;
      if (i + 1 < names.size()) next = names[i + 1];
      RILL_TRY(scan_segment(names[i], next));
    }
    return std::move(scan_);
  }

 private:
  Result<void> scan_segment(Txid first, std::optional<Txid> next) {
    RILL_ASSIGN(Segment segment, open_segment(files_, directory_, first));
    RILL_ASSIGN(auto header, read_header(segment, id_));
    if (!header) return torn_header(segment, next);
    if (!scan_.segments.empty()) RILL_TRY(check_joint(segment, header->start));
    scan_.end = header->start;
    // The next segment's name says where this one ends; what is trusted need not be read at all.
    skipped_ = next && next->value - 1 <= verify_from_.value;
    if (skipped_) {
      scan_.segments.push_back({first, segment.size, Txid{next->value - 1}, header->start.timestamp_ms});
      return {};
    }
    return scan_records(segment, next.has_value());
  }

  /// The segment before must end where this one starts.
  Result<void> check_joint(const Segment& segment, const LogState& start) {
    SegmentInfo& before = scan_.segments.back();
    bool joins = start == scan_.end;
    if (skipped_) {
      joins = start.log_offset == scan_.end.log_offset + before.size - kSegmentHeaderSize &&
              start.position.epoch >= scan_.end.position.epoch;
      before.last_timestamp_ms = start.timestamp_ms;
    }
    if (!joins) return corrupt(segment.path, 0, "does not follow the segment before");
    return {};
  }

  Result<void> scan_records(const Segment& segment, bool has_next) {
    scan_.undo.reset();
    std::uint64_t offset = kSegmentHeaderSize;
    while (offset < segment.size) {
      RILL_ASSIGN(auto record, read_record(segment, offset, scan_.end, id_, verify_from_));
      if (!record) {
        RILL_TRY(must_be_torn(segment, offset, has_next));
        scan_.cut = true;
        RILL_ASSIGN(const bool unused, only_zeroes_follow(segment, offset));
        if (!unused) scan_.torn_bytes = segment.size - offset;
        break;
      }
      scan_.undo = Undo{scan_.end, offset};
      scan_.end = record->state_after();
      offset += record_size(record->image_size);
    }
    scan_.segments.push_back({segment.first, offset, scan_.end.position.txid, scan_.end.timestamp_ms});
    return {};
  }

  Result<void> must_be_torn(const Segment& segment, std::uint64_t offset, bool has_next) {
    Txid lost = scan_.end.position.txid.next();
    if (has_next) return corrupt(segment.path, offset, "damaged record before the last segment");
    RILL_ASSIGN(bool durable, was_durable(segment, offset + 8, lost, id_));
    if (durable) return corrupt(segment.path, offset, "damaged record, and a later one says it was durable");
    return {};
  }

  Result<void> torn_header(const Segment& segment, std::optional<Txid> next) {
    if (next) return corrupt(segment.path, 0, "damaged header before the last segment");
    bool durable = false;
    if (segment.size > kSegmentHeaderSize) {
      RILL_ASSIGN(durable, was_durable(segment, kSegmentHeaderSize, segment.first, id_));
    }
    if (durable) return corrupt(segment.path, 0, "damaged header, and a record says it was durable");
    if (skipped_) RILL_TRY(scan_skipped());
    if (!scan_.segments.empty() && scan_.end.position.txid.next() != segment.first)
      return corrupt(segment.path, 0, "damaged header, and the segment before ends elsewhere");
    scan_.torn_bytes = segment.size;
    scan_.torn_segment_path = segment.path;
    return {};
  }

  /// The segment before was not read, and what said where the log stands after it is torn.
  Result<void> scan_skipped() {
    RILL_ASSIGN(Segment segment, open_segment(files_, directory_, scan_.segments.back().first));
    scan_.segments.pop_back();
    return scan_records(segment, true);
  }

  FileSystem& files_;
  const std::string& directory_;
  const DatabaseId id_;
  const Txid verify_from_;
  bool skipped_ = false;
  Scan scan_;
};

}  // namespace

Result<std::vector<Txid>> list_segments(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(auto entries, files.list(directory, kLabel));
  std::vector<Txid> segments;
  for (const DirectoryEntry& entry : entries) {
    auto first = parse_segment_name(entry.name);
    if (first && !entry.is_directory) segments.push_back(*first);
  }
  std::sort(segments.begin(), segments.end());
  return segments;
}

Result<Scan> scan(FileSystem& files, const std::string& directory, DatabaseId id, Txid verify_from) {
  return Scanner(files, directory, id, verify_from).run();
}

}  // namespace rillfs::log
