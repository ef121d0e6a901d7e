#include "replication/log/log.h"

#include <algorithm>

#include "replication/base/failpoint.h"
#include "replication/base/mutex.h"
#include "replication/base/waiting.h"
#include "replication/ltx/header.h"

namespace rillfs::log {
namespace {

constexpr Label kAppend = "log: append";
constexpr Label kAhead = "log: zeroes ahead";
constexpr Label kSync = "log: sync";
constexpr Label kRoll = "log: roll";
constexpr Label kOpen = "log: open";
constexpr Label kReset = "log: reset";
constexpr Label kRetain = "log: retain";
/// A reset writes the first, renames it to the second (from then on it counts), removes the old segments and
/// gives it its proper name.
constexpr const char* kResetUnfinished = "/reset.new";
constexpr const char* kResetDone = "/reset.done";

Error invalid(const char* what) { return make_error(ErrorCode::kInvalid, std::string("log: ") + what); }

}  // namespace

Log::Log(FileSystem& files, Clock& clock, std::string directory, DatabaseId id, LogOptions options)
    : files_(files), clock_(clock), directory_(std::move(directory)), id_(id), options_(options) {}

Log::~Log() {
  // If that fails the next start does it.
  if (file_ && !poisoned_) (void)end_at_the_last_record();
}

Result<Opened> Log::open(FileSystem& files, Clock& clock, std::string directory, DatabaseId id,
                         const LogState& start_if_empty, LogOptions options, Txid verify_from) {
  Opened opened;
  opened.log.reset(new Log(files, clock, std::move(directory), id, options));
  RILL_TRY(opened.log->load(start_if_empty, verify_from, opened.torn_bytes));
  return opened;
}

Result<void> Log::load(const LogState& start_if_empty, Txid verify_from, std::uint64_t& torn_bytes) {
  RILL_TRY(files_.make_directories(directory_, kOpen));
  RILL_TRY(finish_reset());
  RILL_ASSIGN(Scan found, scan(files_, directory_, id_, verify_from));
  torn_bytes = found.torn_bytes;
  if (!found.torn_segment_path.empty()) RILL_TRY(files_.remove(found.torn_segment_path, kOpen));
  if (found.segments.empty()) {
    RILL_TRY(start_segment(start_if_empty));
  } else {
    const SegmentInfo& last = found.segments.back();
    RILL_ASSIGN(std::shared_ptr<File> file, files_.open(path_of(last.first), OpenMode::kReadWrite, kOpen));
    if (found.cut) RILL_TRY(file->truncate(last.size, kOpen));
    undo_ = found.undo;
    Lock lock(mutex_);
    file_ = std::move(file);
    segments_.assign(found.segments.begin(), found.segments.end());
    end_ = found.end;
  }
  RILL_TRY(tail().file->sync_data(kOpen));
  RILL_TRY(files_.sync_directory(directory_, kOpen));
  Lock lock(mutex_);
  synced_txid_ = end_.position.txid;
  synced_ = {segments_.back().size, end_};
  return {};
}

Result<void> Log::finish_reset() {
  RILL_TRY(remove_if_there(files_, directory_ + kResetUnfinished, kOpen));
  const std::string done = directory_ + kResetDone;
  RILL_ASSIGN(bool pending, files_.exists(done, kOpen));
  if (!pending) return {};
  RILL_ASSIGN(auto file, files_.open(done, OpenMode::kRead, kOpen));
  SegmentHeaderBytes bytes;
  RILL_TRY(file->read_exact_at(bytes, 0, kOpen));
  auto header = parse_segment_header(bytes);
  if (!header) return header.error().with(done);
  RILL_ASSIGN(auto old, list_segments(files_, directory_));
  for (Txid first : old) RILL_TRY(files_.remove(path_of(first), kOpen));
  RILL_TRY(files_.rename(done, path_of(header->start.position.txid.next()), kOpen));
  return files_.sync_directory(directory_, kOpen);
}

Result<std::shared_ptr<File>> Log::create_segment(const std::string& path, const LogState& start) {
  RILL_ASSIGN(std::shared_ptr<File> file, files_.open(path, OpenMode::kCreateNew, kRoll));
  if (auto written = file->write_at(encode(SegmentHeader{id_, start}), 0, kRoll); !written) {
    file.reset();
    if (auto removed = files_.remove(path, kRoll); !removed) return poison(removed.error());
    return written.error();
  }
  return file;
}

Result<void> Log::start_segment(const LogState& start) {
  Txid first = start.position.txid.next();
  RILL_ASSIGN(std::shared_ptr<File> file, create_segment(path_of(first), start));
  failpoint::reach("log.roll.before_directory_sync");
  if (auto synced = files_.sync_directory(directory_, kRoll); !synced) return poison(synced.error());
  zeroes_end_ = 0;
  zeroes_fit_ = true;
  Lock lock(mutex_);
  file_ = std::move(file);
  segments_.push_back({first, kSegmentHeaderSize, start.position.txid, start.timestamp_ms});
  end_ = start;
  synced_ = {0, start};
  return {};
}

Result<void> Log::prepare(const NewRecord& record) {
  if (appending_) return invalid("another record is being appended");
  undo_.reset();
  if (record.flags & kSnapshot) return invalid("a snapshot starts a log, it is not appended");
  bool full;
  {
    Lock lock(mutex_);
    if (poisoned_) return *poisoned_;
    RILL_TRY(check_follows(record, end_));
    full = segments_.back().size >= options_.segment_size_max && segments_.back().size > kSegmentHeaderSize;
  }
  return full ? roll() : Result<void>();
}

Log::Tail Log::tail() const {
  Lock lock(mutex_);
  return {file_, segments_.back().size, end_};
}

Result<void> Log::roll() {
  RILL_TRY(end_at_the_last_record());
  RILL_TRY(sync());  // only the last segment may hold what is not durable
  undo_.reset();
  failpoint::reach("log.roll.before_segment");
  auto started = start_segment(end());
  failpoint::reach("log.roll.after_segment");
  if (!started && started.error().code != ErrorCode::kNoSpace) return poison(started.error());
  return started;
}

RecordInfo Log::complete(const NewRecord& record, const LogState& before, std::uint64_t image_size,
                         Checksum image_checksum) const {
  RecordInfo info{record};
  info.image_size = image_size;
  info.log_offset = before.log_offset + record_size(image_size);
  info.image_checksum = image_checksum;
  info.database = id_;
  info.pre_epoch = before.position.epoch;
  info.synced_txid = record.flags & kSnapshot ? Txid{} : synced_txid();
  return info;
}

Result<RecordInfo> Log::append(const NewRecord& record, Bytes image) {
  if (image.size() < ltx::kHeaderSize + ltx::kTrailerSize) return invalid("no LTX image");
  RILL_TRY(check_image(record, image, image.last(ltx::kTrailerSize)));
  RILL_TRY(prepare(record));
  const Tail at = tail();
  RecordInfo info =
      complete(record, at.end, image.size(), ltx::parse_trailer(image.last(ltx::kTrailerSize)).file);
  EnvelopeBytes envelope = encode(info);
  buffer_.assign(envelope.begin(), envelope.end());
  append_bytes(buffer_, image);
  buffer_.resize(record_size(image.size()));
  failpoint::reach("log.append.before_write");
  if (auto written = at.file->write_at(buffer_, at.offset, kAppend); !written) {
    return clean_up(written.error());
  }
  failpoint::reach("log.append.after_write");
  appended(info);
  write_zeroes_ahead(*at.file, at.offset + buffer_.size());
  return info;
}

void Log::write_zeroes_ahead(File& file, std::uint64_t end) {
  static const Buffer kZeroes(std::size_t{256} << 10);
  const std::uint64_t ahead = std::min({options_.zeroes_ahead, end, std::uint64_t{kZeroes.size()}});
  if (end <= zeroes_end_ || ahead == 0 || !zeroes_fit_) return;
  zeroes_end_ = end + ahead;
  zeroes_fit_ = file.write_at(Bytes(kZeroes).first(ahead), end, kAhead).has_value();
  failpoint::reach("log.append.after_zeroes");
  // Others need what little room there is.
  if (!zeroes_fit_) (void)end_at_the_last_record();
}

Result<void> Log::end_at_the_last_record() {
  if (zeroes_end_ == 0) return {};
  const Tail at = tail();
  RILL_TRY(at.file->truncate(at.offset, kAhead));
  zeroes_end_ = 0;
  Lock lock(mutex_);
  ++changes_;
  return {};
}

void Log::appended(const RecordInfo& record) {
  Lock lock(mutex_);
  SegmentInfo& segment = segments_.back();
  undo_ = Undo{end_, segment.size};
  segment.size += record_size(record.image_size);
  segment.last_txid = record.max_txid;
  segment.last_timestamp_ms = record.timestamp_ms;
  end_ = record.state_after();
  ++changes_;
}

Result<void> Log::cut_last() {
  if (appending_ || !undo_) return invalid("there is no record to take back");
  Lock lock(mutex_);
  while (syncing_) wait_for_sync();
  if (auto cut = file_->truncate(undo_->segment_size, kAppend); !cut) {
    poison_locked(cut.error());
    return cut.error();
  }
  zeroes_end_ = 0;
  end_ = undo_->end;
  if (undo_->segment_size < synced_.size) synced_ = {undo_->segment_size, undo_->end};
  segments_.back().size = undo_->segment_size;
  segments_.back().last_txid = end_.position.txid;
  segments_.back().last_timestamp_ms = end_.timestamp_ms;
  synced_txid_ = std::min(synced_txid_, end_.position.txid);
  ++changes_;
  undo_.reset();
  return {};
}

void Log::wait_for_sync() {
  const int seen = syncs_;
  mutex_.unlock();
  about_to_wait();
  syncs_.wait(seen);
  mutex_.lock();
}

Result<void> Log::sync() {
  Lock lock(mutex_);
  const std::uint64_t wanted = changes_;
  for (;;) {
    if (poisoned_) return *poisoned_;
    if (changes_synced_ >= wanted) return {};
    if (!syncing_) break;
    wait_for_sync();
  }
  syncing_ = true;
  const std::uint64_t covered = changes_;
  const Txid txid = end_.position.txid;
  const Synced all{segments_.back().size, end_};
  std::shared_ptr<File> file = file_;
  lock.unlock();
  failpoint::reach("log.sync.before");
  auto result = file->sync_data(kSync);
  failpoint::reach("log.sync.after");
  lock.lock();
  syncing_ = false;
  if (result) {
    changes_synced_ = covered;
    synced_txid_ = txid;
    if (file == file_) synced_ = all;
  } else if (!poisoned_) {
    poison_locked(result.error());
    can_be_mended_ = result.error().code == ErrorCode::kNoSpace;
  }
  ++syncs_;
  syncs_.notify_all();
  return result;
}

Error Log::clean_up(Error cause) {
  const Tail at = tail();
  auto cut = at.file->truncate(at.offset, kAppend);
  zeroes_end_ = 0;
  if (!cut) return poison(cut.error());
  const bool harmless = cause.code == ErrorCode::kNoSpace || cause.code == ErrorCode::kInvalid;
  return harmless ? cause : poison(std::move(cause));
}

Error Log::poison(Error cause) {
  Lock lock(mutex_);
  poison_locked(cause);
  return cause;
}

void Log::poison_locked(const Error& cause) {
  if (!poisoned_ || can_be_mended_) poisoned_ = cause;
  can_be_mended_ = false;
}

Result<void> Log::retain(Txid keep_after, std::span<const Pin> pins) {
  const std::int64_t oldest_ms = clock_.wall_ms() - options_.retain_time_ms;
  for (;;) {
    std::string path;
    {
      Lock lock(mutex_);
      const SegmentInfo& oldest = segments_.front();
      if (segments_.size() < 2 || oldest.last_txid > keep_after) return {};
      std::uint64_t total = 0;
      for (const SegmentInfo& segment : segments_) total += segment.size;
      const std::uint64_t beyond = total - std::min(total, options_.retain_bytes);
      const auto needs = [&](const Pin& pin) {
        return pin.after < oldest.last_txid && beyond <= pin.beyond_budget;
      };
      if (std::any_of(pins.begin(), pins.end(), needs)) return {};
      if (beyond == 0 && oldest.last_timestamp_ms >= oldest_ms) return {};
      path = path_of(oldest.first);
    }
    failpoint::reach("log.retain.before_unlink");
    RILL_TRY(remove_if_there(files_, path, kRetain));
    failpoint::reach("log.retain.after_unlink");
    Lock lock(mutex_);
    segments_.pop_front();
  }
}

LogState Log::end() const {
  Lock lock(mutex_);
  return end_;
}

Txid Log::first_txid() const {
  Lock lock(mutex_);
  return segments_.front().first;
}

std::uint64_t Log::bytes_on_disk() const {
  Lock lock(mutex_);
  std::uint64_t total = 0;
  for (const SegmentInfo& segment : segments_) total += segment.size;
  return total;
}

Txid Log::synced_txid() const {
  Lock lock(mutex_);
  return synced_txid_;
}

std::string Log::path_of(Txid first) const { return directory_ + "/" + segment_name(first); }

Result<Appender> Log::begin(const NewRecord& record) {
  RILL_TRY(prepare(record));
  appending_ = true;
  Tail at = tail();
  return Appender(*this, record, std::move(at.file), at.offset, at.end, false);
}

Result<Appender> Log::reset(const NewRecord& snapshot) {
  if (appending_) return invalid("another record is being appended");
  if (!(snapshot.flags & kSnapshot)) return invalid("a log is reset to a snapshot only");
  LogState before = end();
  {
    Lock lock(mutex_);
    if (poisoned_) return *poisoned_;
  }
  RILL_TRY(check_follows(snapshot, before));
  before.position.txid = Txid{snapshot.min_txid.value - 1};
  before.position.checksum = snapshot.pre;
  // Epochs grow within a log, and it begins here.
  before.position.epoch = std::min(before.position.epoch, snapshot.epoch);
  before.hash = {};
  RILL_TRY(remove_if_there(files_, directory_ + kResetUnfinished, kReset));
  RILL_ASSIGN(std::shared_ptr<File> file, create_segment(directory_ + kResetUnfinished, before));
  appending_ = true;
  return Appender(*this, snapshot, std::move(file), kSegmentHeaderSize, before, true);
}

Result<void> Log::replace_all(std::shared_ptr<File> file, const RecordInfo& record) {
  RILL_TRY(file->sync_data(kReset));
  Lock lock(mutex_);
  while (syncing_) wait_for_sync();
  if (poisoned_) return *poisoned_;
  // From here on the disk is in between: whatever fails, opening the log again settles it.
  auto replace = [&]() RILL_REQUIRES(mutex_) -> Result<void> {
    failpoint::reach("log.reset.before_rename");
    RILL_TRY(files_.rename(directory_ + kResetUnfinished, directory_ + kResetDone, kReset));
    failpoint::reach("log.reset.after_rename");
    RILL_TRY(files_.sync_directory(directory_, kReset));
    for (const SegmentInfo& segment : segments_) {
      RILL_TRY(files_.remove(path_of(segment.first), kReset));
      failpoint::reach("log.reset.after_unlink");
    }
    failpoint::reach("log.reset.before_last_rename");
    RILL_TRY(files_.rename(directory_ + kResetDone, path_of(record.min_txid), kReset));
    return files_.sync_directory(directory_, kReset);
  };
  if (auto replaced = replace(); !replaced) {
    poison_locked(replaced.error());
    return replaced;
  }
  failpoint::reach("log.reset.after");
  zeroes_end_ = 0;
  zeroes_fit_ = true;
  file_ = std::move(file);
  segments_.assign(1, {record.min_txid, kSegmentHeaderSize + record_size(record.image_size), record.max_txid,
                       record.timestamp_ms});
  end_ = record.state_after();
  synced_txid_ = record.max_txid;
  changes_synced_ = ++changes_;
  synced_ = {segments_.back().size, end_};
  undo_.reset();
  return {};
}

}  // namespace rillfs::log
