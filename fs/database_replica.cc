// A replica's side of a database: change sets come in from the stream, are verified, and go into the log.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>

#include "fs/database.h"
#include "fs/image_reader.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/encoder.h"

namespace rillfs {
namespace {

log::NewRecord record_of(const ImageSummary& image, const Position& pre, const Position& post,
                         const log::ContentHash& hash) {
  log::NewRecord record;
  record.epoch = post.epoch;
  record.min_txid = image.header.min_txid;
  record.max_txid = image.header.max_txid;
  record.pre = pre.checksum;
  record.post = post.checksum;
  record.hash = hash;
  record.commit = image.header.commit;
  record.page_size = image.header.page_size;
  record.timestamp_ms = image.header.timestamp_ms;
  return record;
}

/// The snapshot's pages, which become the log's only record when it is committed.
Result<void> write_snapshot(log::Appender& appender, const ltx::Header& header, File& file,
                            const Content& content) {
  ltx::Encoder encoder(appender);
  RILL_TRY(encoder.begin(header));
  Buffer page(content.page_size());
  for (Pgno pgno{1}; pgno <= header.commit; pgno = pgno.next()) {
    if (!content.page(pgno).present()) continue;
    RILL_TRY(file.read_exact_at(page, (std::uint64_t{pgno.value} - 1) * header.page_size, "snapshot: read"));
    RILL_TRY(encoder.page(pgno, page));
  }
  RILL_TRY(encoder.finish(content.position().checksum));
  return appender.sync();
}

}  // namespace

// What a poisoned log refuses it refuses until the next start, a snapshot too: that is kClosed. Unless all
// that it wants is room.
Error Database::refused(Error error) {
  const bool room = error.code == ErrorCode::kNoSpace && (failure_.empty() || failure_passes_);
  if (room && log_->can_be_mended()) fail(error);  // so that it is mended before the next try
  const bool passes = room || log_->sync();
  if (!passes) {
    error = make_error(ErrorCode::kClosed, "the log takes nothing any more: " + error.message);
    fail(error);
  }
  return std::move(error).with(info_.path);
}

Error Database::read_only_error() {
  return Error{ErrorCode::kReadOnly, EROFS, "writes go to the primary: this node is a replica"};
}

Result<void> Database::append_image(const log::NewRecord& record, const stream::Sink::Image& image) {
  if (image.file_path.empty()) {
    RILL_TRY(log_->append(record, image.bytes));
    return {};
  }
  RILL_ASSIGN(auto file, environment_.files.open(image.file_path, OpenMode::kRead, "receive: read image"));
  RILL_ASSIGN(std::uint64_t size, file->size("receive: read image"));
  FileSource source(*file, 0, size, "receive: read image");
  RILL_ASSIGN(auto appender, log_->begin(record));
  Buffer chunk(std::size_t{1} << 20);
  for (;;) {
    RILL_ASSIGN(std::size_t n, source.read(chunk));
    if (n == 0) break;
    RILL_TRY(appender.write(Bytes(chunk).first(n)));
  }
  RILL_TRY(appender.commit());
  return {};
}

Result<Position> Database::receive(const stream::ChangeSetInfo& info, const stream::Sink::Image& image) {
  Lock lock(mutex_);
  if (dropped_) return make_error(ErrorCode::kPositionMismatch, info_.path + " was dropped");
  if (failure_passes_) RILL_TRY(go_on());
  const Position here = content_.position();
  if (!info.pre.same_place(here) || info.post.epoch < here.epoch) {
    return make_error(ErrorCode::kPositionMismatch, info_.path + " is at " + to_text(here) +
                                                        "; the change set follows " + to_text(info.pre));
  }
  RILL_ASSIGN(ImageSummary summary, read_image(environment_.files, info, image, nullptr));
  if (summary.header.min_txid != here.txid.next() ||
      !content_.grows_completely(summary.changes, summary.header.commit, summary.header.page_size)) {
    return make_error(ErrorCode::kCorrupt, info_.path + ": the change set to " + to_text(info.post) +
                                               " does not bring every page that it adds");
  }
  const Content::Sums sums =
      content_.preview(summary.changes, summary.header.commit, summary.header.page_size);
  if (sums.rolling != info.post.checksum) {
    return make_error(ErrorCode::kCorrupt, info_.path + ": after the change set its pages sum up to " +
                                               to_hex(sums.rolling.value) + ", not to " + to_text(info.post));
  }
  failpoint::reach("receive.before_log");
  if (auto appended = append_image(record_of(summary, here, info.post, sums.hash), image); !appended)
    return refused(std::move(appended).error());
  failpoint::reach("receive.after_log");
  {
    Lock checks(checks_mutex_);
    content_.apply(summary.changes, summary.header.commit, summary.header.page_size, info.post);
    ahead_.changed(summary.changes, info.post.txid);
  }
  {
    Lock published(published_mutex_);
    published_ = {info_, info.post, log_->end().log_offset};
    last_commit_ms_ = summary.header.timestamp_ms;
  }
  return info.post;
}

// The mutex is not held while the snapshot is written and made durable: requests go on. Nothing else is
// appended meanwhile, since what comes from the stream for one database comes one after the other.
Result<Position> Database::receive_snapshot(const std::string& file_path, const Content& content) {
  RILL_ASSIGN(auto file, environment_.files.open(file_path, OpenMode::kRead, "snapshot: read"));
  ltx::Header header;
  header.page_size = content.page_size();
  header.commit = content.page_count();
  header.min_txid = Txid{1};
  header.max_txid = content.position().txid;
  header.timestamp_ms = environment_.clock.wall_ms();
  header.node = environment_.node;
  if (has_damage_) RILL_TRY(mend_file(*file, content));
  RILL_ASSIGN(auto appender, begin_snapshot_record(content, header));
  failpoint::reach("resync.before_log");
  auto appended = write_snapshot(appender, header, *file, content);
  Lock lock(mutex_);
  if (appended && dropped_) appended = make_error(ErrorCode::kPositionMismatch, info_.path + " was dropped");
  if (appended) {
    if (auto committed = appender.commit(); !committed) appended = std::move(committed).error();
  }
  appender.abort();  // unless it is committed
  if (!appended) return dropped_ ? appended.error() : refused(std::move(appended).error());
  failpoint::reach("resync.after_log");
  {
    Lock checks(checks_mutex_);
    const Position before = content_.position();
    content_ = content;
    content_replaced(before);
  }
  Lock published(published_mutex_);
  published_ = {info_, content_.position(), log_->end().log_offset};
  return content_.position();
}

Result<log::Appender> Database::begin_snapshot_record(const Content& content, const ltx::Header& header) {
  Lock lock(mutex_);
  if (dropped_) return make_error(ErrorCode::kPositionMismatch, info_.path + " was dropped");
  if (failure_passes_) RILL_TRY(go_on());
  log::NewRecord record =
      record_of(ImageSummary{header, {}, {}}, content_.position(), content.position(), content.hash());
  record.flags |= log::kSnapshot;
  record.pre = Checksum::empty();
  auto appender = log_->reset(record);
  if (!appender) return refused(std::move(appender).error());
  return appender;
}

void Database::applying(Txid txid, std::uint64_t size) {
  Lock lock(mutex_);
  applying_ = txid;
  applying_sizes_ = {applying_sizes_[1], size};
}

Result<void> Database::resize_on_replica(std::uint64_t size) {
  const bool checkpoint = wal_mode_ && size != 0 && std::ranges::count(applying_sizes_, size) != 0;
  if (checkpoint) return file_->truncate(size, "database: write");
  return read_only_error();
}

void Database::applied(const Position& position, bool file_complete) {
  {
    Lock lock(published_mutex_);
    applied_ = position;
  }
  note_applied(position);
  if (file_complete) file_holds(position);
}

void Database::file_holds(const Position& position) {
  {
    Lock lock(mutex_);
    file_holds_ = position;
    Lock checks(checks_mutex_);
    ahead_.file_holds(position);
  }
  environment_.backfilled(id());
}

void Database::set_wal_mode(bool wal_mode) {
  Lock lock(mutex_);
  wal_mode_ = wal_mode;
}

}  // namespace rillfs
