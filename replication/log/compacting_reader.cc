#include "replication/log/compacting_reader.h"

#include <utility>

namespace rillfs::log {

bool CompactingReader::can_be_merged(const RecordInfo& record) {
  return record.flags == 0 && record.image_size <= kMergedMax;
}

Result<std::optional<CompactingReader::Record>> CompactingReader::next(Txid published) {
  Buffer().swap(image_);
  image_read_ = 0;
  in_memory_ = false;
  auto info = std::exchange(waiting_, std::nullopt);
  if (!info) {
    RILL_ASSIGN(info, reader_.next(published));
  }
  if (!info) return std::optional<Record>();
  Record record{*info, info->timestamp_ms, record_size(info->image_size)};
  const bool far_behind = published.value - info->max_txid.value >= kFarBehind;
  if (far_behind && can_be_merged(*info)) {
    RILL_ASSIGN(record, merge(*info, published));
  }
  return std::optional(record);
}

Result<void> CompactingReader::read_whole(const RecordInfo& record, Buffer& image) const {
  image.resize(record.image_size);
  ImageSource source = reader_.source();
  for (MutableBytes rest(image); !rest.empty();) {
    RILL_ASSIGN(const std::size_t got, source.read(rest));
    if (got == 0) return make_error(ErrorCode::kCorrupt, "log: the segment ends within a record");
    rest = rest.subspan(got);
  }
  return {};
}

RecordInfo CompactingReader::collect(const RecordInfo& first, Txid published, ltx::Compactor& compactor) {
  RecordInfo last = first;
  Buffer image;
  std::size_t read = 0;
  const auto fits = [&](const RecordInfo& next) {
    return next.epoch == first.epoch && can_be_merged(next) &&
           compactor.size_max() + next.image_size <= kMergedMax && read < kReadMax &&
           compactor.expanded_size() < kExpandedMax;
  };
  for (waiting_ = first; waiting_ && fits(*waiting_);) {
    // What cannot be merged is given as it is: whoever uses it finds out what is wrong with it.
    if (!read_whole(*waiting_, image)) break;
    auto taken = compactor.add(image);
    if (!taken || !*taken) break;
    if (compactor.count() == 1) image_ = image;
    last = *waiting_;
    read += record_size(image.size());
    auto next = reader_.next(published);
    waiting_ = next ? *next : std::nullopt;  // an error comes again
  }
  return last;
}

Result<CompactingReader::Record> CompactingReader::merge(const RecordInfo& first, Txid published) {
  ltx::Compactor compactor;
  const std::uint64_t begin = first.log_offset - record_size(first.image_size);
  RecordInfo merged = collect(first, published, compactor);
  Record record{first, first.timestamp_ms, merged.log_offset - begin};
  if (compactor.count() == 0) waiting_.reset();
  in_memory_ = compactor.count() != 0;
  if (compactor.count() <= 1) return record;
  auto image = compactor.finish();
  if (!image) {
    return make_error(ErrorCode::kNotInLog, "the log is damaged between " + to_text(first.pre_position()) +
                                                " and " + to_text(merged.post_position()) + ": " +
                                                image.error().message);
  }
  image_ = std::move(*image);
  merged.min_txid = first.min_txid;
  merged.pre = first.pre;
  merged.pre_epoch = first.pre_epoch;
  merged.image_size = image_.size();
  merged.image_checksum = ltx::parse_trailer(Bytes(image_).last(ltx::kTrailerSize)).file;
  record.info = merged;
  return record;
}

Result<std::size_t> CompactingReader::read(MutableBytes into) {
  if (!in_memory_) return reader_.read(into);
  const Bytes rest = Bytes(image_).subspan(image_read_);
  const std::size_t size = std::min(into.size(), rest.size());
  std::copy_n(rest.begin(), size, into.begin());
  image_read_ += size;
  if (size == rest.size()) {
    Buffer().swap(image_);
    image_read_ = 0;
  }
  return size;
}

}  // namespace rillfs::log
