#include "fs/apply/rollback_writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fs/run_writer.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "replication/base/failpoint.h"

namespace rillfs::apply {
namespace {

using namespace sqlite;

constexpr std::size_t kRunMax = 256 << 10;  // bytes

}  // namespace

Result<std::unique_ptr<RollbackWriter>> RollbackWriter::open(const std::string& path,
                                                             const RollbackWriterOptions& options,
                                                             const Clock& clock) {
  RILL_ASSIGN(Descriptor file, Descriptor::open(path));
  std::unique_ptr<RollbackWriter> writer(new RollbackWriter(path, std::move(file), options, clock));
  RILL_ASSIGN(writer->identity_, identity_of(writer->file_));
  return writer;
}

Result<void> RollbackWriter::write(PageSource& pages, Pgno commit, std::uint32_t page_size) {
  if (!is_page_size(page_size))
    return make_error(ErrorCode::kInvalid, "page size " + std::to_string(page_size));
  RILL_TRY(check_same_file(path_, identity_));
  if (!half_written_) RILL_TRY(lock_exclusive(clock_.monotonic() + options_.lock_wait));
  if (auto checked = check_companions(); !checked) {
    if (!half_written_) release();
    return checked;
  }
  if (auto written = write_pages(pages, commit, page_size); !written) {
    if (!half_written_) release();
    return written.error().with(path_);
  }
  half_written_ = false;
  release();
  return {};
}

Result<void> RollbackWriter::lock_exclusive(Monotonic deadline) {
  blocked_by_.reset();
  for (Backoff backoff;; backoff.pause()) {
    // Always an attempt, even with a deadline that has passed.
    RILL_ASSIGN(const bool locked, try_exclusive(deadline));
    if (locked) return {};
    release();
    if (clock_.monotonic() >= deadline) return busy();
  }
}

Result<bool> RollbackWriter::try_exclusive(Monotonic deadline) {
  RILL_ASSIGN(bool locked, take(pending_, kPending, LockMode::kShared));
  if (!locked) return false;
  RILL_ASSIGN(locked, take(shared_, kShared, LockMode::kShared));
  if (!locked) return false;
  pending_.release();
  RILL_ASSIGN(locked, take(reserved_, kReserved, LockMode::kExclusive));
  if (!locked) return false;
  RILL_ASSIGN(locked, take(pending_, kPending, LockMode::kExclusive));
  if (!locked) return false;
  return wait_for_readers(std::min(deadline, clock_.monotonic() + options_.pending_wait));
}

// One attempt, without waiting: `lock_exclusive` starts again from the beginning, as SQLite does, so that two
// writers never wait for each other.
Result<bool> RollbackWriter::take(OfdLock& lock, LockRange range, LockMode mode) {
  if (lock.held() && &lock == &reserved_) return true;
  RILL_ASSIGN(auto taken, OfdLock::try_lock(file_.get(), range, mode));
  if (taken) {
    lock = std::move(*taken);
    return true;
  }
  RILL_ASSIGN(const auto holder, find_conflict(file_.get(), range, mode));
  if (holder) blocked_by_ = holder;
  return false;
}

Result<bool> RollbackWriter::wait_for_readers(Monotonic deadline) {
  for (Backoff backoff;; backoff.pause()) {
    RILL_ASSIGN(const bool converted, shared_.try_convert(LockMode::kExclusive));
    if (converted) return true;
    RILL_ASSIGN(const auto holder, find_conflict(file_.get(), kShared, LockMode::kExclusive));
    if (holder) blocked_by_ = holder;
    if (clock_.monotonic() >= deadline) return false;
  }
}

void RollbackWriter::release() {
  shared_.release();
  pending_.release();
  if (!hold_) reserved_.release();
}

Error RollbackWriter::busy() const {
  return make_error(ErrorCode::kBusy, path_ + " is locked by " +
                                          (blocked_by_ ? blocked_by_->to_text() : std::string("somebody")));
}

// Under EXCLUSIVE nobody has a WAL of this database open, and nobody can begin a journal: what is found here
// stays so. A persistent journal whose header is zeroed belongs to a finished transaction.
Result<void> RollbackWriter::check_companions() const {
  struct stat status {};
  const std::string wal = companion_name(path_, Companion::kWal);
  if (::stat(wal.c_str(), &status) == 0) {
    if (status.st_size != 0)
      return make_error(ErrorCode::kInvalid, wal + " has content: the change set must be appended to it");
  } else if (errno != ENOENT) {
    return errno_error(errno, wal);
  }
  const std::string journal = companion_name(path_, Companion::kJournal);
  if (::stat(journal.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return errno_error(errno, journal);
  }
  RILL_ASSIGN(const Descriptor file, Descriptor::open(journal));
  std::uint8_t header[kJournalHeaderSize];
  RILL_ASSIGN(const std::size_t n, file.read_at(header, 0));
  if (is_hot_header(Bytes(header, n)))
    return make_error(ErrorCode::kInvalid,
                      journal + " is hot: an application died in a transaction that a replica must not have");
  return {};
}

Result<void> RollbackWriter::write_pages(PageSource& pages, Pgno commit, std::uint32_t page_size) {
  CheckedPages checked(pages, commit, page_size);
  RunWriter run(kRunMax, [this](Bytes bytes, std::uint64_t offset) {
    half_written_ = true;
    failpoint::reach("apply.file.before_page");
    return file_.write_at(bytes, offset);
  });
  for (;;) {
    RILL_ASSIGN(const std::optional<Page> page, checked.next());
    if (!page) break;
    RILL_TRY(run.add(page->data, std::uint64_t{page->pgno.value - 1} * page_size));
  }
  RILL_TRY(run.flush());
  half_written_ = true;
  failpoint::reach("apply.file.before_truncate");
  RILL_TRY(file_.truncate(std::uint64_t{commit.value} * page_size));
  failpoint::reach("apply.file.after_truncate");
  return {};
}

Result<void> RollbackWriter::hold_reserved(bool hold) {
  hold_ = hold;
  if (!hold) {
    if (!half_written_) reserved_.release();
    return {};
  }
  blocked_by_.reset();
  const Monotonic deadline = clock_.monotonic() + options_.lock_wait;
  for (Backoff backoff;; backoff.pause()) {
    RILL_ASSIGN(const bool locked, take(reserved_, kReserved, LockMode::kExclusive));
    if (locked) return {};
    if (clock_.monotonic() < deadline) continue;
    hold_ = false;
    return busy();
  }
}

Result<void> RollbackWriter::sync() {
  if (::fdatasync(file_.get()) != 0) return errno_error(errno, "sync " + path_);
  return {};
}

}  // namespace rillfs::apply
