// Content that arrived without a transaction: plain copies, renames, journal_mode=MEMORY and OFF.
//
// The file as it is, with the committed frames of a WAL that lies beside it, is compared with the known page
// checksums; what differs becomes one change set, nothing if nothing does.
#include <spdlog/spdlog.h>

#include <cstring>

#include "fs/database.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {
constexpr Label kReconcile = "reconcile: read";
constexpr Label kNoteUnlogged = "note unlogged write";
constexpr const char* kPutWhole = "Put a whole database there, or remove the file";
}  // namespace

Result<void> Database::begin_unlogged_write() {
  if (unlogged_writes_ == 0) look_for_arrived_journal();
  if (unlogged_writes_ == 0 && replicated_) {
    // A crash must not replay the log over what is being written, and a power cut must not leave it without
    // the mark: the file would be taken for what the log says. From the mark on it is the other way round:
    // the file is believed, so everything that was committed has to be in it for certain.
    const std::string directory = environment_.database_directory(info_.id);
    RILL_TRY(sync_content());
    // Believed as well: a journal whose end is not on disk yet would be rolled back.
    if (const auto journal = open_beside("-journal", OpenMode::kReadWrite))
      RILL_TRY(journal->sync_data(kNoteUnlogged));
    failpoint::reach("unlogged.before_mark");
    RILL_TRY(environment_.files.open(directory + "/unlogged", OpenMode::kCreate, kNoteUnlogged));
    RILL_TRY(environment_.files.sync_directory(directory, kNoteUnlogged));
    failpoint::reach("unlogged.after_mark");
  }
  unlogged_writes_.fetch_add(1);
  return {};
}

Result<void> Database::sync_content() {
  constexpr Label kSync = "database: sync";
  auto synced = file_->sync_data(kSync);
  if (synced && wal_ && scanner_.header()) synced = wal_->sync_data(kSync);
  if (!synced) fail(synced.error());
  return synced;
}

void Database::note_unlogged_write() {
  if (auto begun = begin_unlogged_write(); !begun) {
    spdlog::warn("{}: {}", info_.path, begun.error().message);
    unlogged_writes_.fetch_add(1);
  }
}

Result<bool> Database::reconcile() {
  Lock lock(mutex_);
  if (!captures(Caller::kApplication) || hot_journal_ == HotJournal::kMadeHere) return false;
  return reconcile_locked();
}

Result<bool> Database::reconcile_at_start() {
  Lock lock(mutex_);
  return reconcile_locked();
}

void Database::content_arrives() {
  Lock lock(mutex_);
  // From the mark on nobody follows the WAL.
  if (auto drained = drain_locked(Look::kThorough); !drained)
    spdlog::warn("{}: {}", info_.path, drained.error().message);
  note_unlogged_write();
}

void Database::content_arrived(std::shared_ptr<File> wal) {
  Lock lock(mutex_);
  if (wal) wal_ = std::move(wal);
  // One that was there first (`cp -r` takes names as they come) was no database's WAL until now.
  if (!wal_) wal_ = open_beside("-wal", OpenMode::kReadWrite);
  note_unlogged_write();
  look_for_arrived_journal();
}

std::unique_ptr<File> Database::open_beside(const char* suffix, OpenMode mode) {
  auto file =
      environment_.files.open(environment_.tree_directory() + "/" + info_.path + suffix, mode, kReconcile);
  return file ? std::move(*file) : nullptr;
}

void Database::look_for_arrived_journal() {
  if (hot_journal_ == HotJournal::kMadeHere) return;
  const auto journal = open_beside("-journal", OpenMode::kRead);
  std::uint8_t start[sqlite::kJournalHeaderSize] = {};
  // Who has the WAL open looks at no journal.
  const bool hot = !scanner_.header() && journal && journal->read_exact_at(start, 0, kReconcile) &&
                   sqlite::is_hot_header(start);
  hot_journal_ = hot ? HotJournal::kArrived : HotJournal::kNone;
}

Result<void> Database::scan_whole_wal() {
  if (wal_) return scanner_.scan(*wal_);
  scanner_.end();
  return {};
}

Result<void> Database::check_claimed_size(const Transaction& transaction) const {
  // Pages that lie in a hole of the file were not written: as many as a transaction may leave out.
  constexpr Pgno kHarmless{1 << 20};
  if (transaction.commit <= kHarmless) return {};
  RILL_ASSIGN(std::uint64_t bytes, file_->data_size(kReconcile));
  const std::uint64_t pages = bytes / transaction.page_size + 1 + scanner_.frames().size();
  if (auto sane = committer_.check_size(transaction.page_size, transaction.commit, pages); !sane)
    return std::move(sane).error().with(info_.path + ", as it is, with " + std::to_string(bytes) +
                                        " bytes that are not in holes");
  return {};
}

bool Database::not_settled(const std::string& why, const char* remedy) {
  Lock lock(checks_mutex_);
  not_settled_ = "what was written here without a transaction is not taken over: " + why +
                 ". It is left as it is, and replicas keep what they have. " + remedy;
  return false;
}

Result<bool> Database::reconcile_locked() {
  const std::uint64_t writes = unlogged_writes_.load();
  if (writes == 0) return true;
  if (hot_journal_ == HotJournal::kArrived) look_for_arrived_journal();
  if (hot_journal_ == HotJournal::kArrived)
    return not_settled("its journal came with it, of a transaction that was not committed",
                       "Open it with SQLite, which rolls the transaction back");
  RILL_TRY(require_writable());
  RILL_ASSIGN(std::uint64_t size, file_->size(kReconcile));
  std::uint32_t page_size = content_.page_size() != 0 ? content_.page_size() : 4096;
  Pgno commit;
  if (size != 0) {
    std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
    RILL_ASSIGN(std::size_t got, file_->read_at(start, 0, kReconcile));
    auto header = sqlite::parse_database_header(Bytes(start, got));
    if (!header) return not_settled(header.error().message, kPutWhole);
    page_size = header->page_size;
    commit = header->size_in_pages(size);
    RILL_TRY(scan_whole_wal());
    if (scanner_.header() && scanner_.page_size() != header->page_size) scanner_.end();
    if (scanner_.header() && scanner_.committed_frames() != 0) commit = scanner_.size();
    // Half copied: the header promises more than there is, in the file and the WAL together.
    for (std::uint64_t n = size / header->page_size + 1; n <= commit.value; ++n) {
      if (!scanner_.frames().contains(Pgno{static_cast<std::uint32_t>(n)}))
        return not_settled("its header says " + std::to_string(commit.value) + " pages, and page " +
                               std::to_string(n) + " is not there",
                           kPutWhole);
    }
    wal_mode_ = header->is_wal();
  } else {
    scanner_.end();
  }
  Transaction transaction = as_files_have_it(page_size, commit);
  RILL_TRY(check_claimed_size(transaction));
  for (Pgno pgno{1}; pgno <= transaction.commit; pgno = pgno.next()) transaction.written.push_back(pgno);
  bool changed = false;
  failpoint::reach("reconcile.before_log");
  RILL_TRY(append_transaction(transaction, &changed));
  if (changed) {
    // The file is the only copy until the log has it for certain.
    failpoint::reach("reconcile.before_sync");
    RILL_TRY(sync_log());
    publish();
  }
  if (scanner_.fully_backfilled()) {
    file_holds_ = content_.position();
  } else {
    file_holds_.reset();
  }
  if (replicated_) RILL_TRY(remove_unlogged_mark());
  unlogged_writes_.fetch_sub(writes);
  {
    Lock lock(checks_mutex_);
    not_settled_.clear();
  }
  if (replicated_) environment_.backfilled(info_.id);
  if (changed) spdlog::info("{}: taken over as it is, position {}", info_.path, to_text(content_.position()));
  return true;
}

// From here on the log is believed again. It has only the pages that differed: the others must be in the
// file. And what is committed next must not meet the mark once more, after a power cut.
Result<void> Database::remove_unlogged_mark() {
  RILL_TRY(sync_content());
  failpoint::reach("reconcile.before_unmark");
  const std::string directory = environment_.database_directory(info_.id);
  RILL_TRY(remove_if_there(environment_.files, directory + "/unlogged", kReconcile));
  auto synced = environment_.files.sync_directory(directory, kReconcile);
  if (!synced) fail(synced.error());
  return synced;
}

}  // namespace rillfs
