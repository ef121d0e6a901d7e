#include <utility>

#include "replication/base/failpoint.h"
#include "replication/log/log.h"
#include "replication/ltx/header.h"

namespace rillfs::log {
namespace {

constexpr Label kAppend = "log: append";
constexpr Label kSync = "log: reset";
constexpr std::size_t kBufferSize = 256 * 1024;

}  // namespace

Appender::Appender(Log& log, const NewRecord& record, std::shared_ptr<File> file, std::uint64_t offset,
                   const LogState& before, bool resets)
    : log_(&log),
      record_(record),
      file_(std::move(file)),
      offset_(offset),
      before_(before),
      resets_(resets) {}

Appender::Appender(Appender&& other) noexcept
    : log_(std::exchange(other.log_, nullptr)),
      record_(other.record_),
      file_(std::move(other.file_)),
      offset_(other.offset_),
      before_(other.before_),
      resets_(other.resets_),
      buffer_(std::move(other.buffer_)),
      flushed_(other.flushed_),
      failed_(std::move(other.failed_)) {}

Appender::~Appender() { abort(); }

Result<void> Appender::write(Bytes bytes) {
  if (failed_) return *failed_;
  append_bytes(buffer_, bytes);
  return buffer_.size() < kBufferSize ? Result<void>() : flush();
}

Result<void> Appender::flush() {
  if (auto written = file_->write_at(buffer_, offset_ + kEnvelopeSize + flushed_, kAppend); !written) {
    failed_ = written.error();
    return written;
  }
  failpoint::reach("log.stream.after_write");
  flushed_ += buffer_.size();
  buffer_.clear();
  return {};
}

Result<void> Appender::sync() {
  if (failed_) return *failed_;
  RILL_TRY(flush());
  auto synced = file_->sync_data(kSync);
  if (!synced) failed_ = synced.error();
  return synced;
}

Result<RecordInfo> Appender::commit() {
  if (!log_) return make_error(ErrorCode::kInvalid, "log: nothing is being appended");
  auto info = write_rest();
  if (!info) {
    if (!failed_) failed_ = info.error();
    abort();
    return info;
  }
  Log& log = *std::exchange(log_, nullptr);
  log.appending_ = false;
  if (resets_) {
    if (auto replaced = log.replace_all(file_, *info); !replaced) return replaced.error();
  } else {
    log.appended(*info);
  }
  return info;
}

Result<RecordInfo> Appender::write_rest() {
  if (failed_) return *failed_;
  const std::uint64_t size = flushed_ + buffer_.size();
  if (size < ltx::kHeaderSize + ltx::kTrailerSize)
    return make_error(ErrorCode::kInvalid, "log: no LTX image");
  buffer_.resize(buffer_.size() + (record_size(size) - kEnvelopeSize - size));
  RILL_TRY(flush());
  ltx::HeaderBytes header;
  std::uint8_t trailer[ltx::kTrailerSize];
  const std::uint64_t start = offset_ + kEnvelopeSize;
  RILL_TRY(file_->read_exact_at(header, start, kAppend));
  RILL_TRY(file_->read_exact_at(trailer, start + size - sizeof trailer, kAppend));
  RILL_TRY(check_image(record_, header, trailer));
  RecordInfo info = log_->complete(record_, before_, size, ltx::parse_trailer(trailer).file);
  failpoint::reach("log.stream.before_envelope");
  RILL_TRY(file_->write_at(encode(info), offset_, kAppend));
  failpoint::reach("log.stream.after_envelope");
  return info;
}

void Appender::abort() {
  if (!log_) return;
  Log& log = *std::exchange(log_, nullptr);
  log.appending_ = false;
  if (resets_) return;  // reset.new is removed by the next reset or open
  // A broken abort poisons the log; the next append reports it.
  (void)log.clean_up(failed_.value_or(make_error(ErrorCode::kInvalid, "aborted")));
}

}  // namespace rillfs::log
