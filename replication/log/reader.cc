#include "replication/log/reader.h"

#include <algorithm>

#include "replication/log/scan.h"

namespace rillfs::log {
namespace {

constexpr Label kLabel = "log: read";
/// Of read-ahead, bytes: for one small record, and for many.
constexpr std::size_t kAheadMin = 4 << 10;
constexpr std::size_t kAheadMax = 128 << 10;

}  // namespace

Result<LogReader> LogReader::open(FileSystem& files, std::string directory, DatabaseId id,
                                  const Position& after) {
  LogReader reader(files, std::move(directory), id);
  RILL_TRY(reader.seek(after));
  return reader;
}

Result<void> LogReader::seek(const Position& after) {
  position_ = after;
  RILL_ASSIGN(std::vector<Txid> segments, list_segments(*files_, directory_));
  if (segments.empty()) return not_in_log("the log is empty");
  const bool from_beginning = after.same_place(Position{});
  auto beyond = std::upper_bound(segments.begin(), segments.end(), after.txid.next());
  if (beyond == segments.begin()) {
    if (!from_beginning) return not_in_log("older than the log");
    ++beyond;
  }
  RILL_TRY(open_segment(*(beyond - 1)));
  if (position_.same_place(after)) {
    at_start_ = from_beginning;
    return {};
  }
  if (from_beginning) {
    RILL_ASSIGN(auto first, peek(Txid{}));
    if (!first || !first->is_snapshot()) return not_in_log("older than the log");
    position_ = after;
    at_start_ = true;
    return {};
  }
  while (position_.txid < after.txid) {
    auto record = peek(after.txid);
    if (!record && record.error().code == ErrorCode::kCorrupt)
      return not_in_log("newer than what is complete");
    if (!record) return record.error();
    if (!*record) return diverged("it is newer than the log");
    if ((*record)->max_txid > after.txid) {
      if ((*record)->is_snapshot()) return not_in_log("older than the log, which begins with a snapshot");
      // Nobody knows any more. A branch that is taken for none would be lost.
      return diverged("it lies within transactions that were merged");
    }
    position_ = (*record)->post_position();
    offset_ += record_size((*record)->image_size);
  }
  return position_.same_place(after) ? Result<void>() : diverged("the log has another history");
}

Result<void> LogReader::open_segment(Txid first) {
  auto file = files_->open(directory_ + "/" + segment_name(first), OpenMode::kRead, kLabel);
  if (!file && file.error().code == ErrorCode::kNotFound) return not_in_log("its segment is gone");
  if (!file) return file.error();
  SegmentHeaderBytes bytes;
  RILL_TRY((*file)->read_exact_at(bytes, 0, kLabel));
  RILL_ASSIGN(SegmentHeader header, parse_segment_header(bytes));
  if (header.database != id_) return not_in_log("segment of another database");
  file_ = std::move(*file);
  ahead_.clear();
  offset_ = kSegmentHeaderSize;
  position_ = header.start.position;
  return {};
}

Bytes LogReader::ahead(std::uint64_t offset) const {
  const std::uint64_t at = offset - ahead_offset_;
  return offset < ahead_offset_ || at >= ahead_.size() ? Bytes() : Bytes(ahead_).subspan(at);
}

Result<Bytes> LogReader::read_ahead(Txid published) {
  const bool complete = position_.txid < ahead_published_;
  if (const Bytes there = ahead(offset_); complete && there.size() >= kEnvelopeSize) return there;
  // More and more while records follow each other; little for one that has just been published.
  const std::size_t size = complete ? std::clamp(4 * ahead_.size(), kAheadMin, kAheadMax) : kAheadMin;
  ahead_.resize(size);
  auto got = file_->read_at(ahead_, offset_, kLabel);
  ahead_.resize(got ? *got : 0);
  RILL_TRY(got);
  ahead_offset_ = offset_;
  ahead_published_ = published;
  return Bytes(ahead_);
}

Result<std::optional<RecordInfo>> LogReader::peek(Txid published) {
  std::optional<RecordInfo> none;
  RILL_ASSIGN(Bytes bytes, read_ahead(published));
  bytes = bytes.first(std::min(bytes.size(), kEnvelopeSize));
  if (is_zero(bytes)) return none;  // the end, or zeroes ahead of the next record
  std::optional<RecordInfo> record;
  if (bytes.size() == kEnvelopeSize) record = parse_envelope(bytes);
  if (!record || record->database != id_) {
    return make_error(ErrorCode::kCorrupt,
                      directory_ + ": the record after " + to_text(position_) + " is damaged");
  }
  return record;
}

Result<std::optional<RecordInfo>> LogReader::next(Txid published) {
  if (published <= position_.txid) {
    Buffer().swap(ahead_);  // it may be long until there is more
    return std::optional<RecordInfo>();
  }
  RILL_ASSIGN(auto record, peek(published));
  if (!record) {
    const Position before = position_;
    RILL_TRY(open_segment(before.txid.next()));
    const bool follows = position_.same_place(before);
    position_ = before;
    if (!follows) return not_in_log("the log has another history");
    RILL_ASSIGN(record, peek(published));
  }
  if (!record) return not_in_log("its segment is gone");
  const bool follows = (at_start_ && record->is_snapshot()) || record->pre_position().same_place(position_);
  if (!follows) return not_in_log("the log has another history");
  if (record->max_txid > published) return std::optional<RecordInfo>();
  at_start_ = false;
  image_offset_ = offset_ + kEnvelopeSize;
  image_size_ = record->image_size;
  image_read_ = 0;
  offset_ += record_size(image_size_);
  position_ = record->post_position();
  return record;
}

Result<std::size_t> LogReader::read(MutableBytes into) {
  into =
      into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), image_size_ - image_read_)));
  if (into.empty()) return std::size_t{0};
  const std::uint64_t offset = image_offset_ + image_read_;
  if (const Bytes there = ahead(offset); there.size() >= into.size()) {
    std::copy_n(there.begin(), into.size(), into.begin());
  } else {
    RILL_TRY(file_->read_exact_at(into, offset, kLabel));
  }
  image_read_ += into.size();
  return into.size();
}

ImageSource LogReader::source() const {
  if (const Bytes there = ahead(image_offset_); there.size() >= image_size_)
    return ImageSource(*file_, there.first(image_size_), kLabel);
  return ImageSource(*file_, image_offset_, image_size_, kLabel);
}

Error LogReader::not_in_log(const char* why) const {
  return make_error(ErrorCode::kNotInLog, directory_ + ": position " + to_text(position_) + ": " + why);
}

Error LogReader::diverged(const char* why) const {
  return make_error(ErrorCode::kPositionMismatch,
                    directory_ + ": position " + to_text(position_) + ": " + why);
}

Result<LogReader> open_reader(FileSystem& files, std::string directory, DatabaseId id,
                              const Position& after) {
  auto reader = LogReader::open(files, directory, id, after);
  const bool elsewhere = !reader && (reader.error().code == ErrorCode::kNotInLog ||
                                     reader.error().code == ErrorCode::kPositionMismatch);
  if (!elsewhere) return reader;
  return LogReader::open(files, std::move(directory), id, Position{});
}

}  // namespace rillfs::log
