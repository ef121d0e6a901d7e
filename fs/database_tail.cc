// Capture in WAL mode, source "tail": the kernel passes the WAL's reads and writes through to its backing
// file, and its commits are found there, by reading behind the writer (WalScanner::follow).
//
// What makes it safe are the gates: requests that still come to us, and are answered only when everything
// that is complete in the WAL is in the log.
//   fsync of the WAL                 a commit that is to be durable returns only after it  (sync_wal)
//   a write to the database file,    a checkpoint; and SQLite starts a WAL anew only after one that was
//   or a change of its size          complete, which ends with the latter           (log_before_file)
//   truncation, removal, renaming    of the WAL                            (resize_wal, remove_wal)
//   FLUSH of any of the three files  a process that dies in the middle        (Tree::flush)
// So no committed frame is written over, and none is gone, before the log has it. Between the gates the
// follower (capture/wal_follower.h) reads along, within a millisecond.
//
// Under `synchronous=NORMAL` a commit returns before it is in the log; then the WAL has it. So a file
// dbs/<id>/followed says, with the machine's boot id, that after a crash of the daemon the WAL is to be
// looked at. It means nothing after another boot: the backing WAL is never synced.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "fs/database.h"
#include "fs/wal_mark.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {
constexpr Label kFollow = "capture: read WAL";
constexpr Label kRefuse = "take a refused commit out of the WAL";
constexpr Label kFence = "close the WAL to those who had it open";
}  // namespace

void Database::begin_tail(std::shared_ptr<File> wal) {
  Lock lock(mutex_);
  if (source_ != Source::kTail || wal_ != wal) scanner_.refuse();
  wal_ = std::move(wal);
  source_ = Source::kTail;
  if (dropped_) return;
  // Readers can open it although its commits cannot be put into the log just now.
  if (auto drained = drain_locked(Look::kThorough); !drained)
    spdlog::error("{}: {}", info_.path, drained.error().message);
}

bool Database::may_be_followed() {
  Lock lock(mutex_);
  auto marked = dropped_ ? Result<void>() : mark_followed();
  if (!marked) spdlog::warn("{}: {}. Its commits are captured by hold", info_.path, marked.error().message);
  return marked.has_value();
}

Result<void> Database::begin_hold() {
  Lock lock(mutex_);
  // Handles that are still passed through cannot be: all of them agree.
  if (source_ == Source::kTail) scanner_.refuse();
  source_ = Source::kHold;
  return unmark_followed();
}

Database::Source Database::source() const {
  Lock lock(mutex_);
  return source_;
}

Result<void> Database::mark_followed() {
  if (marked_followed_ || !replicated_) return {};
  RILL_TRY(
      save_wal_mark(environment_.files, environment_.database_directory(info_.id), environment_.boot_id));
  marked_followed_ = true;
  return {};
}

Result<void> Database::unmark_followed() {
  if (!replicated_) return {};
  marked_followed_ = false;
  return remove_wal_mark(environment_.files, environment_.database_directory(info_.id));
}

Result<Database::Drained> Database::drain(Look look) {
  Lock lock(mutex_);
  return drain_locked(look);
}

Result<void> Database::catch_up() {
  RILL_ASSIGN(const Drained drained, drain(Look::kThorough));
  if (!drained.needs_index) return {};
  RILL_ASSIGN(const auto index, environment_.published_index(*this));
  if (!index) return {};  // none is published, so that nobody takes what follows for committed
  RILL_TRY(drain_published(*index));
  return {};
}

Result<Database::Drained> Database::drain_locked(Look look) {
  if (source_ != Source::kTail || !wal_ || !captures(Caller::kApplication)) return Drained{};
  if (has_unlogged_writes()) return Drained{.reconciles = true};
  RILL_ASSIGN(bool anew, look_at_generation());
  std::uint32_t before = scanner_.read_frames();
  for (;;) {
    auto committed = commit_followed(look);
    if (committed) break;
    if (committed.error().code != ErrorCode::kPositionMismatch) return std::move(committed).error();
    // SQLite may just have started the WAL anew, after all of it had been committed here.
    RILL_ASSIGN(const bool again, look_at_generation());
    if (!again) {
      committed_frames_are_gone(committed.error());
      return Drained{.reconciles = true};
    }
    anew = true;
    before = scanner_.read_frames();
  }
  return Drained{.moved = anew || scanner_.read_frames() != before,
                 .open = scanner_.read_frames() - scanner_.committed_frames(),
                 .needs_index = scanner_.stopped_at_unsealed()};
}

Result<void> Database::settle_before_sync() {
  if (source_ != Source::kTail || !has_unlogged_writes()) return {};
  // Content has arrived without a transaction: what is committed now must have a base that the log knows.
  RILL_ASSIGN(const bool settled, reconcile_locked());
  return settled ? Result<void>() : begin_unlogged_write();
}

/// True if another generation has begun.
Result<bool> Database::look_at_generation() {
  std::uint8_t bytes[sqlite::kWalHeaderSize];
  RILL_ASSIGN(const std::size_t got, wal_->read_at(bytes, 0, kFollow));
  // None is there yet, or it is just being written.
  if (got < sizeof bytes) return false;
  auto header = sqlite::parse_wal_header(bytes);
  if (!header) return false;
  const auto& present = scanner_.header();
  if (present && present->salts == header->salts && present->checksum == header->checksum) return false;
  RILL_TRY(begin_generation(WalView(*wal_)));
  return true;
}

Result<void> Database::commit_followed(Look look) {
  const WalView view(*wal_);
  RILL_TRY(scanner_.look_again(view, look == Look::kThorough));
  bool any = false;
  auto commit_next = [&]() RILL_REQUIRES(mutex_) -> Result<bool> {
    RILL_ASSIGN(auto transaction, scanner_.follow(view));
    if (!transaction) return false;
    failpoint::reach("tail.commit.before");
    if (auto writable = require_writable(); !writable) {
      scanner_.refuse();
      return std::move(writable).error();
    }
    RILL_TRY(commit_wal(view, *transaction));
    return any = true;
  };
  auto more = commit_next();
  while (more && *more) more = commit_next();
  if (any) environment_.changed(info_.id);
  return more ? Result<void>() : std::move(more).error();
}

void Database::committed_frames_are_gone(const Error& error) {
  // A process that did not know of the last commits has written over them. The file and the WAL are what
  // SQLite goes by now, and so must we.
  spdlog::warn("{}: {}; the database is taken over as it is", info_.path, error.message);
  scanner_.end();
  note_unlogged_write();
}

Result<Database::Drained> Database::drain_published(const sqlite::WalIndexHeader& index) {
  Lock lock(mutex_);
  if (source_ != Source::kTail || !wal_ || has_unlogged_writes()) return Drained{};
  RILL_TRY(look_at_generation());
  const auto& header = scanner_.header();
  if (header && index.salts == header->salts && index.page_size == header->page_size)
    scanner_.trust(index.max_frame, index.frame_checksum);
  return drain_locked(Look::kThorough);
}

Result<void> Database::refuse_followed(std::uint32_t published, bool checkpoints, const Error& why) {
  Lock lock(mutex_);
  if (auto drained = drain_locked(Look::kThorough)) return {};
  if (source_ != Source::kTail || !scanner_.header() || scanner_.committed_frames() > published) return why;
  // No commit waits for this sync: it is a checkpoint's, and what stands there is somebody's open
  // transaction.
  WalScanner in_file;
  RILL_TRY(in_file.scan(*wal_));
  if (in_file.committed_frames() <= published) return why;
  if (checkpoints) return close_in_doubt_locked(why);
  // Where the chain breaks, nothing that follows is a commit for anybody. The next writer begins here.
  const std::uint8_t none[sqlite::kFrameHeaderSize] = {};
  const std::uint64_t offset = sqlite::frame_offset(published + 1, scanner_.page_size());
  if (auto written = wal_->write_at(none, offset, kRefuse); !written) {
    fail(written.error());
    return written;
  }
  scanner_.refuse();
  return why;
}

Result<void> Database::close_in_doubt(const Error& why) {
  Lock lock(mutex_);
  return close_in_doubt_locked(why);
}

Result<void> Database::close_in_doubt_locked(const Error& why) {
  fail(Error(why).with("a commit may be in the WAL that could not be put into the log"));
  return why;
}

Result<void> Database::take_from_wal(std::shared_ptr<File> wal) {
  Lock lock(mutex_);
  wal_ = std::move(wal);
  return take_from_wal_locked();
}

Result<void> Database::fence_wal() {
  Lock lock(mutex_);
  if (!wal_ || !replicated_) return {};
  if (auto fenced = wal_->end_writes(kFence); !fenced) {
    spdlog::warn(
        "{}: {}. An application that still has the database open from before can go on writing to it "
        "without an error, and that is lost: end it",
        info_.path, fenced.error().message);
  }
  return take_from_wal_locked();
}

Transaction Database::as_files_have_it(std::uint32_t page_size, Pgno commit) {
  Transaction transaction;
  transaction.page_size = page_size;
  transaction.commit = commit;
  transaction.read = [this, page_size](Pgno pgno, MutableBytes into)
                         RILL_REQUIRES(mutex_) { return read_page_below(pgno, page_size, into); };
  return transaction;
}

Result<bool> Database::has_unsealed_commit_behind() const {
  for (std::uint32_t frame = scanner_.committed_frames() + 1;; ++frame) {
    std::uint8_t header[sqlite::kFrameHeaderSize] = {};
    const std::uint64_t offset = sqlite::frame_offset(frame, scanner_.page_size());
    RILL_ASSIGN(const std::size_t got, wal_->read_at(header, offset, kFollow));
    const sqlite::FrameHeader fields = sqlite::parse_frame_header(header);
    if (got < sizeof header || fields.pgno.value == 0) return false;
    if (fields.is_commit() && sqlite::is_unsealed_frame(header)) return true;
  }
}

Result<void> Database::take_from_wal_locked() {
  RILL_TRY(scan_whole_wal());
  if (!scanner_.header() || scanner_.committed_frames() == 0 ||
      scanner_.page_size() != content_.page_size()) {
    scanner_.end();
    return {};
  }
  RILL_ASSIGN(const bool unsealed, has_unsealed_commit_behind());
  if (unsealed) {
    // The log may have what the wal-index vouched for, which is newer than what can be verified here.
    spdlog::warn("{}: its WAL has a commit that SQLite left without checksums: what the log has counts",
                 info_.path);
    scanner_.end();
    return {};
  }
  // All of it in one change set: what the log has already does not differ, and shows no older state again.
  Transaction transaction = as_files_have_it(scanner_.page_size(), scanner_.size());
  for (const auto& [pgno, frame] : scanner_.frames()) transaction.written.push_back(pgno);
  std::sort(transaction.written.begin(), transaction.written.end());
  bool changed = false;
  failpoint::reach("recovery.before_wal");
  RILL_TRY(append_transaction(transaction, &changed));
  if (!changed) return {};
  RILL_TRY(sync_log());
  failpoint::reach("recovery.after_wal");
  publish();
  spdlog::info("{}: the WAL had commits that were not in the log yet, to {}", info_.path,
               to_text(content_.position()));
  return {};
}

}  // namespace rillfs
