#include "replication/log/reader.h"

#include <algorithm>

#include "replication/log/scan.h"

namespace rillfs::log {
namespace {

constexpr Label kLabel = "log: read";

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
    RILL_ASSIGN(auto first, peek());
    if (!first || !first->is_snapshot()) return not_in_log("older than the log");
    position_ = after;
    at_start_ = true;
    return {};
  }
  while (position_.txid < after.txid) {
    auto record = peek();
    if (!record && record.error().code == ErrorCode::kCorrupt)
      return not_in_log("newer than what is complete");
    if (!record) return record.error();
    if (!*record) return not_in_log("newer than the log");
    position_ = (*record)->post_position();
    offset_ += record_size((*record)->image_size);
  }
  return position_.same_place(after) ? Result<void>() : not_in_log("the log has another history");
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
  offset_ = kSegmentHeaderSize;
  position_ = header.start.position;
  return {};
}

Result<std::optional<RecordInfo>> LogReader::peek() {
  std::optional<RecordInfo> none;
  EnvelopeBytes bytes;
  RILL_ASSIGN(std::size_t size, file_->read_at(bytes, offset_, kLabel));
  if (is_zero(Bytes(bytes).first(size))) return none;  // the end, or zeroes ahead of the next record
  std::optional<RecordInfo> record;
  if (size == bytes.size()) record = parse_envelope(bytes);
  if (!record || record->database != id_) {
    return make_error(ErrorCode::kCorrupt,
                      directory_ + ": the record after " + to_text(position_) + " is damaged");
  }
  return record;
}

Result<std::optional<RecordInfo>> LogReader::next(Txid published) {
  if (published <= position_.txid) return std::optional<RecordInfo>();
  RILL_ASSIGN(auto record, peek());
  if (!record) {
    const Position before = position_;
    RILL_TRY(open_segment(before.txid.next()));
    const bool follows = position_.same_place(before);
    position_ = before;
    if (!follows) return not_in_log("the log has another history");
    RILL_ASSIGN(record, peek());
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
  RILL_TRY(file_->read_exact_at(into, image_offset_ + image_read_, kLabel));
  image_read_ += into.size();
  return into.size();
}

FileSource LogReader::source() const { return FileSource(*file_, image_offset_, image_size_, kLabel); }

Error LogReader::not_in_log(const char* why) const {
  return make_error(ErrorCode::kNotInLog, directory_ + ": position " + to_text(position_) + ": " + why);
}

Result<LogReader> open_reader(FileSystem& files, std::string directory, DatabaseId id,
                              const Position& after) {
  auto reader = LogReader::open(files, directory, id, after);
  if (reader || reader.error().code != ErrorCode::kNotInLog) return reader;
  return LogReader::open(files, std::move(directory), id, Position{});
}

}  // namespace rillfs::log
