// What a sync that met no room may have lost is written again.
//
// The kernel may have dropped the pages that it could not write, or call them clean: another sync would
// succeed and mean nothing. So everything since the last sync that did not fail is read back, compared record
// by record with what the log knows of itself, written to the same place and synced. What cannot be read back
// is lost for this run: only opening the log again says what is on disk.
#include "replication/log/log.h"
#include "replication/ltx/decoder.h"

namespace rillfs::log {
namespace {

constexpr Label kMend = "log: mend";
/// What may have been appended since the last sync and still be mended: it is held in memory. Bytes.
constexpr std::uint64_t kTailSizeMax = 64 << 20;

/// The record's image, at the beginning of `bytes`, is the one that its envelope describes.
bool image_verifies(const RecordInfo& record, Bytes bytes) {
  BufferSource source(bytes.first(record.image_size));
  auto image = ltx::verify(source, ltx::Format::kV3Block);
  return image && image->trailer.file == record.image_checksum;
}

/// `tail` are the bytes of a segment from one state of the log to another, all of them records, the segment's
/// header before them if `begins_segment`.
bool leads(Bytes tail, bool begins_segment, LogState state, const LogState& end, DatabaseId id) {
  if (begins_segment) {
    if (tail.size() < kSegmentHeaderSize) return false;
    auto header = parse_segment_header(tail);
    if (!header || header->database != id || header->start != state) return false;
    tail = tail.subspan(kSegmentHeaderSize);
  }
  while (!tail.empty()) {
    if (tail.size() < kEnvelopeSize) return false;
    const auto record = parse_envelope(tail);
    if (!record || record->database != id || !check_follows(*record, state)) return false;
    const std::uint64_t size = record_size(record->image_size);
    if (size > tail.size() || !image_verifies(*record, tail.subspan(kEnvelopeSize))) return false;
    state = record->state_after();
    tail = tail.subspan(size);
  }
  return state == end;
}

}  // namespace

bool Log::can_be_mended() const {
  Lock lock(mutex_);
  return can_be_mended_;
}

Result<void> Log::mend() {
  std::shared_ptr<File> file;
  Synced from, all;
  std::uint64_t covered = 0;
  {
    Lock lock(mutex_);
    while (syncing_) wait_for_sync();
    if (!poisoned_) return {};
    if (!can_be_mended_) return *poisoned_;
    file = file_;
    from = synced_;
    all = {segments_.back().size, end_};
    covered = changes_;
  }
  auto written = write_again(*file, from, all.size, all.end);
  Lock lock(mutex_);
  if (!written) {
    if (written.error().code != ErrorCode::kNoSpace) can_be_mended_ = false;
    return written;
  }
  poisoned_.reset();
  can_be_mended_ = false;
  synced_ = all;
  changes_synced_ = covered;
  synced_txid_ = all.end.position.txid;
  return {};
}

Result<void> Log::write_again(File& file, const Synced& from, std::uint64_t size, const LogState& end) {
  if (size - from.size > kTailSizeMax)
    return make_error(ErrorCode::kIo,
                      directory_ + ": too much was appended since the last sync to be mended");
  Buffer tail(size - from.size);
  RILL_TRY(file.read_exact_at(tail, from.size, kMend));
  if (!leads(tail, from.size == 0, from.end, end, id_))
    return make_error(ErrorCode::kIo,
                      directory_ + ": what a failed sync was to write cannot be read any more");
  RILL_TRY(file.write_at(tail, from.size, kMend));
  return file.sync_data(kMend);
}

}  // namespace rillfs::log
