// Capture in WAL mode, source "hold": the write that completes a commit frame is done, and answered, only
// after the transaction's change set is in the log. It can still fail: then nothing is written, SQLite rolls
// back, and the next writer overwrites the frames.
//
// The way of a commit, top to bottom: write_wal -> capture_wal -> commit_wal -> Committer::append -> the
// write itself -> publish.
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include "fs/database.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/wal_index.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr Label kWriteWal = "capture: write WAL";
constexpr Label kReadPage = "capture: read page";
}  // namespace

Result<void> Database::write_wal(const std::shared_ptr<File>& wal, Bytes bytes, std::uint64_t offset,
                                 Caller caller) {
  Lock lock(mutex_);
  wal_ = wal;
  if (!captures(caller)) return wal->write_at(bytes, offset, kWriteWal);
  RILL_TRY(require_writable());
  if (has_unlogged_writes()) {
    // Content has arrived without a transaction: what is committed now must have a base that the log knows.
    RILL_ASSIGN(bool settled, reconcile_locked());
    if (!settled) {
      RILL_TRY(begin_unlogged_write());
      return wal->write_at(bytes, offset, kWriteWal);
    }
  }
  const WalView view(*wal, bytes, offset);
  if (offset < sqlite::kWalHeaderSize) RILL_TRY(begin_generation(view));
  return capture_wal(view, bytes, offset);
}

Result<void> Database::begin_generation(const WalView& view) {
  std::uint8_t bytes[sqlite::kWalHeaderSize];
  RILL_ASSIGN(std::size_t got, view.read(bytes, 0));
  auto header =
      got == sizeof bytes ? sqlite::parse_wal_header(bytes) : make_error(ErrorCode::kCorrupt, "short");
  if (!header) {
    end_generation();
    return {};
  }
  const auto& present = scanner_.header();
  // The checksum counts as well: a header that is written again after a rollback may have the same salts but
  // another process's checkpoint sequence, and the frames' chain begins with the header's checksum.
  const bool same = present && present->salts == header->salts && present->checksum == header->checksum &&
                    present->order == header->order && present->page_size == header->page_size;
  if (same) return {};
  failpoint::reach("wal.reset.before_header");
  end_generation();
  scanner_.begin(*header);
  return {};
}

void Database::look_for_backfilled() {
  // A page that reached the file in parts, or before this daemon knew of it, was not noted when it came.
  Buffer page(content_.page_size());
  for (Pgno pgno : scanner_.waiting()) {
    auto got = file_->read_at(page, (std::uint64_t{pgno.value} - 1) * page.size(), kReadPage);
    const bool same = got && *got == page.size() && ltx::page_checksum(pgno, page) == content_.page(pgno);
    if (same) scanner_.backfilled(pgno);
  }
}

void Database::end_generation() {
  if (!scanner_.header()) return;
  look_for_backfilled();
  if (scanner_.fully_backfilled()) {
    file_holds_ = content_.position();
    environment_.backfilled(info_.id);
  } else {
    // SQLite never lets go of a WAL before all of it is in the database file: somebody else did.
    spdlog::warn("{}: its WAL went away with {} pages that are not in the database file", info_.path,
                 scanner_.waiting_pages());
    note_unlogged_write();
  }
  scanner_.end();
}

Result<bool> Database::repeats_committed_frames(File& wal, Bytes bytes, std::uint64_t offset) const {
  // One write may begin in the header, which it leaves as it is, and go on over the frames.
  const std::uint64_t in_header = offset < sqlite::kWalHeaderSize ? sqlite::kWalHeaderSize - offset : 0;
  bytes = bytes.subspan(std::min<std::size_t>(in_header, bytes.size()));
  offset += in_header;
  const std::uint64_t end = std::min<std::uint64_t>(scanner_.committed_end(), offset + bytes.size());
  if (offset >= end) return true;
  Buffer present(end - offset);
  RILL_ASSIGN(std::size_t got, wal.read_at(present, offset, kWriteWal));
  if (got < present.size()) return false;
  // Sealing a frame late changes its salts and checksum, bytes 8..23 of its header, and nothing that was
  // committed.
  for (std::size_t i = 0; i < got; ++i) {
    const std::uint64_t at = (offset + i - sqlite::kWalHeaderSize) % sqlite::frame_size(scanner_.page_size());
    const bool seal = at >= 8 && at < sqlite::kFrameHeaderSize;
    if (present[i] != bytes[i] && !seal) return false;
  }
  return true;
}

Result<void> Database::write_frames(Bytes bytes, std::uint64_t offset) {
  failpoint::reach("wal.frames.before_write");
  if (auto written = wal_->write_at(bytes, offset, kWriteWal); !written) {
    scanner_.refuse();  // what it has verified may not be in the file
    if (offset < sqlite::kWalHeaderSize) {
      // Which generation is in the file now? What is written to it next finds out.
      scanner_.end();
      note_unlogged_write();
    }
    return written;
  }
  failpoint::reach("wal.frames.after_write");
  return {};
}

Result<void> Database::capture_wal(const WalView& view, Bytes bytes, std::uint64_t offset) {
  RILL_ASSIGN(bool harmless, repeats_committed_frames(*wal_, bytes, offset));
  if (!harmless) {
    // Some process works from a wal-index that lacks the last commits: its predecessor was killed before it
    // could publish them. They are in the log; FLUSH of the dead process's handle has the index rebuilt.
    return errno_error(EIO, info_.path + ": write over a committed frame of the WAL");
  }
  RILL_ASSIGN(auto transaction, scanner_.written(view, offset, bytes.size()));
  if (!transaction) return write_frames(bytes, offset);
  RILL_TRY(commit_wal(view, *transaction));
  environment_.changed(info_.id);
  // One write may complete several transactions (a WAL that is copied, frames repeated to fill a sector).
  RILL_ASSIGN(transaction, scanner_.written(WalView(*wal_), scanner_.committed_end(), 0));
  return commit_all(std::move(transaction));
}

Result<void> Database::commit_all(std::optional<WalTransaction> transaction) {
  const WalView view(*wal_);
  while (transaction) {
    RILL_TRY(commit_wal(view, *transaction));
    environment_.changed(info_.id);
    RILL_ASSIGN(transaction, scanner_.written(view, scanner_.committed_end(), 0));
  }
  return {};
}

Result<void> Database::capture_left_behind() {
  Lock lock(mutex_);
  if (source_ == Source::kTail) {
    RILL_TRY(drain_locked(Look::kThorough));
    return {};
  }
  if (!captures(Caller::kApplication) || !wal_ || has_unlogged_writes()) return {};
  RILL_ASSIGN(auto transaction, scanner_.left_behind(WalView(*wal_)));
  if (transaction) RILL_TRY(require_writable());
  return commit_all(std::move(transaction));
}

Result<void> Database::read_page_below(Pgno pgno, std::uint32_t page_size, MutableBytes into) {
  auto frame = scanner_.frames().find(pgno);
  const bool in_wal = wal_ && frame != scanner_.frames().end() && scanner_.page_size() == page_size;
  File& from = in_wal ? *wal_ : *file_;
  const std::uint64_t offset =
      in_wal ? scanner_.page_offset(frame->second) : (std::uint64_t{pgno.value} - 1) * page_size;
  RILL_ASSIGN(std::size_t got, from.read_at(into.first(page_size), offset, kReadPage));
  std::memset(into.data() + got, 0, page_size - got);
  return {};
}

Transaction Database::transaction_of(const WalView& view, const WalTransaction& transaction) {
  Transaction result;
  result.page_size = scanner_.page_size();
  result.commit = transaction.commit;
  result.written.reserve(transaction.pages.size());
  for (const auto& [pgno, frame] : transaction.pages) result.written.push_back(pgno);
  result.read = [this, view, &transaction](Pgno pgno, MutableBytes into)
                    RILL_REQUIRES(mutex_) -> Result<void> {
    auto it = std::lower_bound(transaction.pages.begin(), transaction.pages.end(), std::pair(pgno, 0U));
    // Not written but within the new size: a free page, in an older frame or the file.
    if (it == transaction.pages.end() || it->first != pgno)
      return read_page_below(pgno, scanner_.page_size(), into);
    if (const Bytes read = scanner_.recent_page(it->second); source_ == Source::kTail && !read.empty()) {
      std::memcpy(into.data(), read.data(), into.size());
      return {};
    }
    RILL_ASSIGN(std::size_t got, view.read(into, scanner_.page_offset(it->second)));
    if (got == into.size()) return {};
    return make_error(ErrorCode::kCorrupt, "frame " + std::to_string(it->second) + " of the WAL is short");
  };
  const std::uint64_t start = sqlite::frame_offset(transaction.first, scanner_.page_size());
  const std::uint64_t end = sqlite::frame_offset(transaction.last + 1, scanner_.page_size());
  const sqlite::Salts salts = scanner_.header()->salts;
  result.wal = WalSpan{start, end - start, salts.first, salts.second};
  return result;
}

Result<void> Database::commit_wal(const WalView& view, const WalTransaction& transaction) {
  // Everything that can fail comes before the write that shows the transaction to others.
  auto wal_mode = wal_mode_after(view, transaction);
  if (!wal_mode) {
    scanner_.refuse();
    return wal_mode.error();
  }
  bool changed = false;
  failpoint::reach("wal.commit.before_log");
  if (auto appended = append_transaction(transaction_of(view, transaction), &changed); !appended) {
    scanner_.refuse();
    return appended;
  }
  failpoint::reach("wal.commit.before_frame");
  if (auto written = view.write_held(kWriteWal); !written) {
    if (changed) {
      if (auto revoked = committer_.revoke(*log_); !revoked) fail(revoked.error());
    }
    scanner_.refuse();
    return written;
  }
  failpoint::reach("wal.commit.before_publish");
  wal_mode_ = *wal_mode;
  scanner_.commit(transaction);
  if (changed) move_on();
  failpoint::reach("wal.commit.before_answer");
  return {};
}

Result<bool> Database::wal_mode_after(const WalView& view, const WalTransaction& transaction) const {
  if (transaction.pages.empty() || transaction.pages.front().first.value != 1) return wal_mode_;
  std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
  RILL_TRY(view.read(start, scanner_.page_offset(transaction.pages.front().second)));
  auto header = sqlite::parse_database_header(start);
  return header ? header->is_wal() : wal_mode_;
}

Result<void> Database::resize_wal(const std::shared_ptr<File>& wal, std::uint64_t size, Caller caller) {
  Lock lock(mutex_);
  wal_ = wal;
  if (!captures(caller)) return wal->truncate(size, kWriteWal);
  RILL_TRY(drain_locked(Look::kThorough));
  RILL_TRY(wal->truncate(size, kWriteWal));
  // A cut through committed frames ends the generation as well: then what the files say is taken.
  if (scanner_.header() && size < scanner_.committed_end()) end_generation();
  scanner_.cut(size);
  failpoint::reach("wal.truncate.before_answer");
  return {};
}

Result<void> Database::sync_wal() {
  {
    Lock lock(mutex_);
    if (!environment_.primary || dropped_) return {};
    RILL_TRY(settle_before_sync());
    RILL_TRY(drain_locked(Look::kThorough));
    // Until it is taken over the log does not have it.
    if (has_unlogged_writes() && wal_) RILL_TRY(wal_->sync_data("WAL: sync"));
    if (!replicated_) return {};
    RILL_TRY(require_writable());
  }
  // Else the backing WAL need not be durable: recovery does not use it.
  failpoint::reach("wal.sync.before_log");
  auto synced = make_durable();
  failpoint::reach("wal.sync.before_answer");
  return synced;
}

Result<void> Database::remove_wal(const Perform& perform) {
  Lock lock(mutex_);
  RILL_TRY(drain_locked(Look::kThorough));
  RILL_TRY(perform());
  if (captures(Caller::kApplication)) end_generation();
  wal_.reset();
  source_ = Source::kNone;
  failpoint::reach("wal.remove.before_answer");
  return {};
}

Result<bool> Database::mend_wal(File& wal) {
  Lock lock(mutex_);
  if (!captures(Caller::kApplication) || !scanner_.header() || !scanner_.has_unsealed()) return false;
  RILL_TRY(scanner_.seal(wal));
  return true;
}

bool Database::wal_index_is_behind(File& shm) const {
  Lock lock(mutex_);
  if (!scanner_.header() || scanner_.committed_frames() == 0) return false;
  std::uint8_t bytes[sqlite::kIndexHeaderSize];
  auto got = shm.read_at(bytes, 0, "capture: read wal-index");
  if (!got || *got < sizeof bytes) return false;
  auto header = sqlite::parse_wal_index_header(bytes);
  return header && header->salts == scanner_.header()->salts &&
         header->max_frame < scanner_.committed_frames();
}

}  // namespace rillfs
