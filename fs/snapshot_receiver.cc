#include "fs/snapshot_receiver.h"

#include <spdlog/spdlog.h>

#include "fs/image_reader.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr Label kLabel = "snapshot: receive";
constexpr std::size_t kChunkSize = std::size_t{1} << 20;
}  // namespace

Result<std::unique_ptr<SnapshotReceiver>> SnapshotReceiver::begin(Environment& environment,
                                                                  const stream::DatabaseInfo& info,
                                                                  const Position& start,
                                                                  std::uint32_t page_size) {
  std::unique_ptr<SnapshotReceiver> receiver(new SnapshotReceiver(environment, info, start, page_size));
  receiver->path_ = environment.spool_directory() + "/snapshot-" + to_hex(info.id.value);
  RILL_ASSIGN(receiver->file_, environment.files.open(receiver->path_, OpenMode::kCreate, kLabel));
  RILL_TRY(receiver->file_->truncate(0, kLabel));
  receiver->write_behind_.open(receiver->path_);
  failpoint::reach("snapshot.begun");
  return receiver;
}

SnapshotReceiver::~SnapshotReceiver() {
  if (released_ || path_.empty()) return;
  if (auto removed = environment_.files.remove(path_, kLabel); !removed)
    spdlog::debug(removed.error().message);
}

Result<void> SnapshotReceiver::compare_with(const std::string& path) {
  RILL_ASSIGN(old_, environment_.files.open(path, OpenMode::kRead, kLabel));
  return {};
}

Result<std::vector<std::uint64_t>> SnapshotReceiver::page_sums(Pgno first, std::uint32_t count) {
  const std::uint64_t end = std::uint64_t{first.value} + count;
  if (!old_ || first.value == 0 || first > next_old_ || end > std::uint64_t{kPgnoMax.value} + 1)
    return make_error(ErrorCode::kInvalid,
                      "snapshot: sums of pages from " + std::to_string(first.value) + " on are out of turn");
  RILL_TRY(run_.flush());
  RILL_TRY(copy_until(Pgno{static_cast<std::uint32_t>(end)}));
  std::vector<std::uint64_t> sums(count, 0);
  for (std::uint32_t i = 0; i < count; ++i) sums[i] = sums_.get(Pgno{first.value + i}).value;
  return sums;
}

Result<void> SnapshotReceiver::copy_until(Pgno end) {
  Buffer chunk(std::max<std::size_t>(kChunkSize, page_size_));
  while (next_old_ < end) {
    const std::uint64_t offset = (std::uint64_t{next_old_.value} - 1) * page_size_;
    const std::size_t wanted = std::min<std::size_t>(chunk.size() / page_size_, end.value - next_old_.value);
    RILL_ASSIGN(std::size_t got,
                old_->read_at(MutableBytes(chunk).first(wanted * page_size_), offset, kLabel));
    const std::size_t pages = got / page_size_;  // a part of one is none
    RILL_TRY(file_->write_at(Bytes(chunk).first(pages * page_size_), offset, kLabel));
    failpoint::reach("difference.after_copy");
    for (std::size_t i = 0; i < pages; ++i) {
      const Pgno pgno{next_old_.value + static_cast<std::uint32_t>(i)};
      if (pgno == ltx::lock_pgno(page_size_)) continue;
      sums_.set(pgno, ltx::page_checksum(pgno, Bytes(chunk).subspan(i * page_size_, page_size_)));
    }
    next_old_ = pages < wanted ? end : Pgno{next_old_.value + static_cast<std::uint32_t>(pages)};
  }
  return {};
}

Result<void> SnapshotReceiver::page(Pgno pgno, Bytes data) {
  if (data.size() != page_size_ || pgno.value == 0 || pgno > kPgnoMax || pgno == ltx::lock_pgno(page_size_)) {
    return make_error(ErrorCode::kInvalid, "snapshot: page " + std::to_string(pgno.value) + " of " +
                                               std::to_string(data.size()) + " bytes");
  }
  // Pages come in ascending order; a gap is the lock page, or a page that a change set will bring.
  RILL_TRY(run_.add(data, (std::uint64_t{pgno.value} - 1) * page_size_));
  sums_.set(pgno, ltx::page_checksum(pgno, data));
  failpoint::reach("snapshot.after_page");
  return {};
}

Result<void> SnapshotReceiver::write_run(Bytes bytes, std::uint64_t offset) {
  RILL_TRY(file_->write_at(bytes, offset, kLabel));
  write_behind_.written(offset + bytes.size());
  return {};
}

Result<void> SnapshotReceiver::end(const Position& end) {
  RILL_TRY(run_.flush());
  end_ = end;
  return {};
}

Result<void> SnapshotReceiver::change_set(const stream::ChangeSetInfo& info,
                                          const stream::Sink::Image& image) {
  if (info.pre.txid != position_.txid || info.pre.checksum != position_.checksum) {
    return make_error(ErrorCode::kPositionMismatch,
                      "snapshot at " + to_text(position_) + ": the change set follows " + to_text(info.pre));
  }
  std::uint32_t page_size = page_size_;
  RILL_ASSIGN(ImageSummary head, read_image(environment_.files, info, image, nullptr));
  if (head.header.page_size != page_size_) {
    // VACUUM with another page size: the change set has every page.
    page_size_ = page_size = head.header.page_size;
    sums_.clear();
  }
  auto write = [&](Pgno pgno, Bytes data) { return page(pgno, data); };
  RILL_TRY(read_image(environment_.files, info, image, write));
  RILL_TRY(run_.flush());
  sums_.resize(head.header.commit);
  RILL_TRY(file_->truncate(std::uint64_t{head.header.commit.value} * page_size, kLabel));
  position_ = info.post;
  return {};
}

Result<void> SnapshotReceiver::verify() {
  if (!sums_.complete(ltx::lock_pgno(page_size_))) {
    return make_error(ErrorCode::kCorrupt, "the snapshot that leads to " + to_text(position_) +
                                               " does not have every page of its " +
                                               std::to_string(sums_.count().value));
  }
  const Checksum rolling = sums_.rolling();
  if (rolling != position_.checksum) {
    return make_error(ErrorCode::kCorrupt,
                      "the snapshot sums up to " + to_hex(rolling.value) + ", not to " + to_text(position_));
  }
  RILL_TRY(file_->truncate(std::uint64_t{sums_.count().value} * page_size_, kLabel));
  failpoint::reach("snapshot.before_sync");
  return file_->sync_data(kLabel);
}

}  // namespace rillfs
