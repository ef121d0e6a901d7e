// Capture in rollback-journal mode (DELETE, TRUNCATE, PERSIST).
//
// While a journal's header stands, writes to the database are staged: its backing file never holds
// uncommitted data. The call that deletes, truncates or zeroes the journal is the commit; it is performed
// only after the change set is in the log (and synced, if the application synced its journal) and the staged
// pages are in the file. A rollback writes the old pages back: nothing differs, so there is no change set.
//
// The way of a commit, top to bottom: remove_journal / resize_journal / write_journal ->
// commit_at_journal_end
// -> commit_journal -> Committer::append -> sync -> copy the staged pages -> publish -> the call itself.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fs/database.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr Label kJournal = "transaction: journal";
constexpr Label kWriteDatabase = "database: write";
}  // namespace

Result<std::uint64_t> Database::size() const {
  Lock lock(mutex_);
  if (staging_.size()) return *staging_.size();
  return file_->size("database: size");
}

Result<void> Database::write(Bytes bytes, std::uint64_t offset, Caller caller) {
  RILL_TRY(log_before_file());
  Lock lock(mutex_);
  if (!environment_.primary && caller == Caller::kApplication && !dropped_ && replicated_) {
    // In WAL mode an application's write to the database can only be a checkpoint: committed content.
    if (wal_mode_) return file_->write_at(bytes, offset, kWriteDatabase);
    return read_only_error();
  }
  if (!captures(caller)) return file_->write_at(bytes, offset, kWriteDatabase);
  if (hot_journal_ == HotJournal::kMadeHere) {
    RILL_TRY(require_writable());
    RILL_TRY(staging_.write(environment_.files, environment_.spool_directory(), *file_, bytes, offset));
    failpoint::reach("journal.stage.before_answer");
    return {};
  }
  if (has_wal_over_file() && wal_has_pages_of(bytes.size(), offset)) return write_checkpoint(bytes, offset);
  RILL_TRY(require_writable());
  RILL_TRY(begin_unlogged_write());
  return file_->write_at(bytes, offset, kWriteDatabase);
}

bool Database::has_wal_over_file() const {
  return scanner_.header() && scanner_.committed_frames() != 0 &&
         scanner_.page_size() == content_.page_size();
}

bool Database::wal_has_pages_of(std::uint64_t size, std::uint64_t offset) const {
  const std::uint32_t page_size = scanner_.page_size();
  for (std::uint64_t at = offset / page_size; at * page_size < offset + size; ++at) {
    if (!scanner_.frames().contains(Pgno{static_cast<std::uint32_t>(at + 1)})) return false;
  }
  return true;
}

Result<void> Database::write_checkpoint(Bytes bytes, std::uint64_t offset) {
  failpoint::reach("checkpoint.before_write");
  RILL_TRY(file_->write_at(bytes, offset, kWriteDatabase));
  failpoint::reach("checkpoint.after_write");
  const std::uint32_t page_size = content_.page_size();
  if (page_size == 0 || offset % page_size != 0) return {};
  // What is written back is in the log already; remember which pages have arrived.
  auto pgno = static_cast<std::uint32_t>(offset / page_size + 1);
  for (; bytes.size() >= page_size; bytes = bytes.subspan(page_size), ++pgno) {
    const bool newest = ltx::page_checksum(Pgno{pgno}, bytes.first(page_size)) == content_.page(Pgno{pgno});
    if (newest) {
      scanner_.backfilled(Pgno{pgno});
    } else {
      scanner_.written_below(Pgno{pgno});
    }
  }
  return {};
}

Result<void> Database::resize(std::uint64_t size, Caller caller) {
  RILL_TRY(log_before_file());
  Lock lock(mutex_);
  if (!environment_.primary && caller == Caller::kApplication && !dropped_ && replicated_)
    return resize_on_replica(size);
  if (!captures(caller)) return file_->truncate(size, kWriteDatabase);
  if (hot_journal_ == HotJournal::kMadeHere) {
    if (prepared_ || half_copied_) RILL_TRY(require_writable());
    return staging_.resize(*file_, size);
  }
  const bool checkpoint = has_wal_over_file() && size != 0;
  RILL_ASSIGN(std::uint64_t present, file_->size(kWriteDatabase));
  // A checkpoint sets the size that its last transaction committed, and so does a rollback-journal commit,
  // after its end; growing alone changes no content.
  const bool committed = size == std::uint64_t{content_.page_count().value} * content_.page_size();
  if (!checkpoint && !committed && size < present) RILL_TRY(begin_unlogged_write());
  return file_->truncate(size, kWriteDatabase);
}

Result<void> Database::sync() {
  {
    Lock lock(mutex_);
    if (captures(Caller::kApplication) && hot_journal_ == HotJournal::kMadeHere) {
      journal_synced_ = true;  // done once, at the commit point
      return {};
    }
  }
  failpoint::reach("checkpoint.before_sync");
  auto synced = file_->sync_data("database: sync");
  failpoint::reach("checkpoint.after_sync");
  if (!synced) {
    Lock lock(mutex_);
    if (captures(Caller::kApplication)) fail(synced.error());
  }
  return synced;
}

bool Database::sync_journal() {
  Lock lock(mutex_);
  journal_synced_ = true;
  return hot_journal_ != HotJournal::kArrived;
}

Result<void> Database::note_journal_header(File& journal, std::uint64_t offset, std::size_t size) {
  std::uint8_t start[sqlite::kJournalHeaderSize] = {};
  RILL_ASSIGN(std::size_t got, journal.read_at(start, 0, kJournal));
  const bool hot = got == sizeof start && sqlite::is_hot_header(start);
  if (!hot) {
    hot_journal_ = HotJournal::kNone;
  } else if (hot_journal_ == HotJournal::kNone && !scanner_.header() &&
             !sqlite::is_header_of_transaction(start, offset, size)) {
    // Noted for good, so that a restart does not take it for one that has done its work.
    RILL_TRY(begin_unlogged_write());
    hot_journal_ = HotJournal::kArrived;
  } else if (hot_journal_ == HotJournal::kNone) {
    // What arrived without a transaction must be known before this one is compared with it.
    if (has_unlogged_writes()) RILL_TRY(reconcile_locked());
    hot_journal_ = HotJournal::kMadeHere;
  }
  failpoint::reach("journal.hot.before_answer");
  return {};
}

Result<void> Database::commit_at_journal_end(const Perform& perform) {
  if (hot_journal_ == HotJournal::kMadeHere) RILL_TRY(commit_journal());
  failpoint::reach("journal.commit.before_end");
  RILL_TRY(perform());
  hot_journal_ = HotJournal::kNone;
  journal_synced_ = false;
  failpoint::reach("journal.commit.before_answer");
  return {};
}

Result<void> Database::write_journal(const std::shared_ptr<File>& journal, Bytes bytes,
                                     std::uint64_t offset) {
  Lock lock(mutex_);
  auto perform = [&] { return journal->write_at(bytes, offset, kJournal); };
  if (!captures(Caller::kApplication) || offset >= sqlite::kJournalHeaderSize) return perform();
  // PERSIST commits by zeroing the header.
  const std::size_t covered = std::min<std::size_t>(bytes.size(), sqlite::kJournalHeaderSize - offset);
  const bool ends = hot_journal_ != HotJournal::kNone && offset == 0 && is_zero(bytes.first(covered));
  if (ends) return commit_at_journal_end(perform);
  RILL_TRY(perform());
  return note_journal_header(*journal, offset, bytes.size());
}

Result<void> Database::resize_journal(const std::shared_ptr<File>& journal, std::uint64_t size) {
  Lock lock(mutex_);
  auto perform = [&] { return journal->truncate(size, kJournal); };
  if (!captures(Caller::kApplication) || size >= sqlite::kJournalHeaderSize) return perform();
  return commit_at_journal_end(perform);
}

Result<void> Database::remove_journal(const Perform& perform) {
  Lock lock(mutex_);
  if (!captures(Caller::kApplication)) return perform();
  return commit_at_journal_end(perform);
}

Result<std::uint64_t> Database::staged_size() const {
  if (staging_.size()) return *staging_.size();
  return file_->size(kJournal);
}

Result<Transaction> Database::staged_transaction() {
  Transaction transaction;
  RILL_ASSIGN(std::uint64_t size, staged_size());
  std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
  RILL_ASSIGN(std::size_t got, staging_.read(*file_, start, 0));
  if (size == 0) {
    transaction.page_size = content_.page_size() != 0 ? content_.page_size() : 4096;
    return transaction;
  }
  // Page 1 may be anything that an application wants it to be: then the pages are as large as before.
  auto header = sqlite::parse_database_header(Bytes(start, got));
  if (!header && content_.page_size() == 0) return header.error();
  transaction.page_size = header ? header->page_size : content_.page_size();
  transaction.commit =
      header ? header->size_in_pages(size) : Pgno{static_cast<std::uint32_t>(size / transaction.page_size)};
  transaction.written = staging_.pages(transaction.page_size);
  transaction.read = [this, page_size = transaction.page_size](Pgno pgno, MutableBytes into)
                         RILL_REQUIRES(mutex_) -> Result<void> {
    const std::uint64_t offset = (std::uint64_t{pgno.value} - 1) * page_size;
    RILL_ASSIGN(std::size_t n, staging_.read(*file_, into.first(page_size), offset));
    std::memset(into.data() + n, 0, page_size - n);
    return {};
  };
  return transaction;
}

bool Database::committed_wal_mode(const Transaction& transaction) const {
  if (transaction.commit.value == 0 || scanner_.frames().contains(Pgno{1})) return wal_mode_;
  std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
  if (!staging_.read(*file_, start, 0)) return wal_mode_;
  auto header = sqlite::parse_database_header(start);
  return header ? header->is_wal() : wal_mode_;
}

// SQLite (3.40 at least: sqlite3PagerCloseWal, and OP_JournalMode that calls it): a connection that switches
// from WAL to a rollback mode, and sees no WAL, goes on without an exclusive lock until it commits. If
// another one commits to a new WAL meanwhile and leaves it there, since the first one's lock keeps it from
// the checkpoint, the two are there together. Everybody who comes later finds the WAL, and reads its frames
// in place of the file's pages, so that they are what counts: nothing staged below them was ever seen.
void Database::leave_out_what_lies_below_wal(Transaction& transaction) {
  const std::uint32_t page_size = scanner_.page_size();
  auto below = [&](Pgno pgno) RILL_REQUIRES(mutex_) {
    return pgno > scanner_.size() || scanner_.frames().contains(pgno);
  };
  for (const Pgno pgno : transaction.written)
    if (below(pgno)) staging_.forget((std::uint64_t{pgno.value} - 1) * page_size, page_size);
  std::erase_if(transaction.written, below);
  transaction.commit = scanner_.size();
  // What has been written back from the WAL stays in the file.
  staging_.forget_size();
}

Result<Database::Prepared> Database::append_staged() {
  RILL_TRY(require_writable());
  RILL_ASSIGN(Transaction transaction, staged_transaction());
  if (has_wal_over_file() && transaction.page_size == scanner_.page_size())
    leave_out_what_lies_below_wal(transaction);
  Prepared prepared;
  RILL_ASSIGN(prepared.size, staged_size());
  prepared.wal_mode = committed_wal_mode(transaction);
  failpoint::reach("journal.commit.before_log");
  RILL_TRY(append_transaction(transaction, &prepared.changed));
  failpoint::reach("journal.commit.before_sync");
  if (prepared.changed && journal_synced_) RILL_TRY(sync_or_take_back());
  return prepared;
}

void Database::show_staged(const Prepared& prepared) {
  wal_mode_ = prepared.wal_mode;
  staging_.clear();
  if (!prepared.changed) return;
  file_holds_ = committer_.pending_position();
  publish();
  environment_.backfilled(info_.id);
}

Result<bool> Database::stages_a_database() {
  if (content_.page_size() != 0 || staging_.size() == 0U) return true;
  std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
  RILL_ASSIGN(std::size_t got, staging_.read(*file_, start, 0));
  return static_cast<bool>(sqlite::parse_database_header(Bytes(start, got)));
}

Result<void> Database::leave_as_it_is() {
  RILL_ASSIGN(const std::uint64_t size, staged_size());
  RILL_TRY(begin_unlogged_write());
  bool untouched = false;
  RILL_TRY(staging_.copy_to(*file_, size, &untouched));
  staging_.clear();
  return {};
}

Result<void> Database::commit_journal() {
  if (half_copied_) RILL_TRY(require_writable());  // then it is what ends now
  if (staging_.empty()) return {};
  // Somebody removes the journal of a file that is no database yet, of an application that died while it made
  // one: then the file is whatever there is, as on a disk, until it is a database.
  RILL_ASSIGN(const bool database, stages_a_database());
  if (!database) return leave_as_it_is();
  RILL_ASSIGN(const Prepared prepared, append_staged());
  failpoint::reach("journal.commit.before_copy");
  bool untouched = false;
  if (auto copied = staging_.copy_to(*file_, prepared.size, &untouched); !copied) {
    // No room: the application rolls back, and goes on once there is. But if some staged pages may be in the
    // file already, only the log, which has them all, can make it whole.
    const bool harmless = untouched && copied.error().code == ErrorCode::kNoSpace;
    if (harmless && prepared.changed) {
      if (auto revoked = committer_.revoke(*log_); !revoked) fail(revoked.error());
    }
    if (!harmless) copy_later(prepared, copied.error());
    return copied;
  }
  failpoint::reach("journal.commit.after_copy");
  show_staged(prepared);
  return {};
}

bool Database::is_part_of(std::string_view name) const {
  Lock lock(mutex_);
  if (!captures(Caller::kApplication) || hot_journal_ != HotJournal::kMadeHere || staging_.empty())
    return false;
  const std::string path = environment_.tree_directory() + "/" + info_.path + "-journal";
  auto journal = environment_.files.open(path, OpenMode::kRead, kJournal);
  auto size = journal ? (*journal)->size(kJournal) : journal.error();
  if (!size) return false;
  Buffer end(std::min<std::uint64_t>(*size, sqlite::kSuperJournalRecordMax));
  if (!(*journal)->read_exact_at(end, *size - end.size(), kJournal)) return false;
  const auto named = sqlite::parse_super_journal_name(end);
  // By what path the application knows the directory is its own affair; the name itself has random digits.
  return named && std::string_view(*named).substr(named->rfind('/') + 1) == name;
}

Result<void> Database::prepare_commit() {
  Lock lock(mutex_);
  if (staging_.empty()) return {};
  RILL_ASSIGN(const bool database, stages_a_database());
  if (!database) return {};  // finish_commit leaves it as it is
  RILL_ASSIGN(prepared_, append_staged());
  return {};
}

void Database::finish_commit() {
  Lock lock(mutex_);
  if (!prepared_) {  // nothing is staged, or no database
    if (auto left = staging_.empty() ? Result<void>() : leave_as_it_is(); !left) fail(left.error());
    return;
  }
  const Prepared prepared = *std::exchange(prepared_, std::nullopt);
  bool untouched = false;
  if (auto copied = staging_.copy_to(*file_, prepared.size, &untouched); !copied)
    return copy_later(prepared, copied.error());
  show_staged(prepared);
}

void Database::copy_later(const Prepared& prepared, const Error& why) {
  if (why.code == ErrorCode::kNoSpace) half_copied_ = prepared;
  fail(why);
}

void Database::revoke_commit() {
  Lock lock(mutex_);
  if (!prepared_) return;
  const bool changed = std::exchange(prepared_, std::nullopt)->changed;
  if (!changed) return;
  auto revoked = committer_.revoke(*log_);
  // Before what says that it was not committed goes.
  if (revoked) revoked = log_->sync();
  if (!revoked) fail(revoked.error());
}

}  // namespace rillfs
