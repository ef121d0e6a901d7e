// What is on disk, and in which order: the log first, then the database file, then the replay base.
//
// A commit is in the log before it is shown, and durable there if the application asked for that. Nothing
// committed goes into the database file before the log that has it is durable, or a power cut could leave
// pages in the file that the log has never heard of. The replay base says of the file only what has been
// synced.
#include <spdlog/spdlog.h>

#include <utility>

#include "fs/database.h"
#include "replication/base/failpoint.h"

namespace rillfs {

Result<void> Database::append_transaction(const Transaction& transaction, bool* changed) {
  // A file that never had content and still has none is no database yet.
  if (!replicated_ && transaction.commit.value == 0) return {};
  if (auto sane =
          committer_.check_size(transaction.page_size, transaction.commit, transaction.written.size());
      !sane)
    return std::move(sane).error().with(info_.path);
  if (!replicated_) RILL_TRY(make_replicated());
  const bool first = content_.position().txid.value == 0;
  auto appended = committer_.append(*log_, transaction);
  if (!appended) {
    // Out of room is no failure, unless it has poisoned the log: then that is what a sync says.
    if (appended.error().code == ErrorCode::kIo || !log_->sync()) fail(appended.error());
    return std::move(appended).error();
  }
  *changed = *appended;
  // The first one whatever the application asks for: if a power cut makes a primary forget a database, its
  // replicas take theirs out of the tree.
  if (!first || !*changed) return {};
  failpoint::reach("create.before_sync");
  return sync_or_take_back();
}

Result<void> Database::sync_or_take_back() {
  auto synced = sync_log();
  if (synced) return synced;
  // It is refused: then it shall not be there after the next start either.
  if (auto revoked = committer_.revoke(*log_); !revoked)
    spdlog::error("{}: {}", info_.path, revoked.error().message);
  return synced;
}

Result<void> Database::sync_log() {
  auto synced = log_->sync();
  if (!synced) synced = log_->mend();
  if (!synced) fail(synced.error());
  return synced;
}

bool Database::is_durable(Txid txid) const {
  Lock lock(mutex_);
  return is_durable_locked(txid);
}

Txid Database::durable_txid() const {
  Lock lock(mutex_);
  return !replicated_ || dropped_ ? Txid{UINT64_MAX} : log_->synced_txid();
}

bool Database::is_durable_locked(Txid txid) const {
  return !replicated_ || dropped_ || log_->synced_txid() >= txid;
}

Result<void> Database::make_durable() {
  std::shared_ptr<log::Log> log;  // a copy: the name may be dropped meanwhile
  {
    Lock lock(mutex_);
    if (!replicated_ || dropped_) return {};
    log = log_;
  }
  auto synced = log->sync();
  if (synced) return {};
  Lock lock(mutex_);
  return sync_log();
}

Result<void> Database::log_before_file() {
  RILL_TRY(catch_up());
  {
    Lock lock(mutex_);
    if (environment_.primary && hot_journal_ == HotJournal::kMadeHere) return {};  // is staged
    if (is_durable_locked(environment_.primary ? content_.position().txid : applying_)) return {};
  }
  return make_durable();
}

bool Database::base_is_due(bool force) const {
  // After a failed sync the kernel may have dropped pages and call the next one a success.
  if (!replicated_ || dropped_ || !file_holds_ || advancing_ || !failure_.empty()) return false;
  if (file_holds_->txid <= base_.position.txid && base_.sums_at == content_.position()) return false;
  // Recording costs 8 bytes a page: rarely enough that the log itself costs several times as much.
  const std::uint64_t due =
      std::max<std::uint64_t>(environment_.base_interval_bytes, content_.sums().size() * 64);
  return force || log_->end().log_offset - base_log_offset_ >= due;
}

Result<void> Database::advance_base(bool force) {
  Position holds;
  Content content;
  std::shared_ptr<log::Log> log;
  {
    Lock lock(mutex_);
    if (!base_is_due(force)) return {};
    advancing_ = true;
    holds = *file_holds_;
    content = content_;
    log = log_;
  }
  auto saved = save_synced_base(*log, holds, content);
  Lock lock(mutex_);
  advancing_ = false;
  if (dropped_ || !failure_.empty()) return saved;
  if (!saved && saved.error().code == ErrorCode::kIo) fail(saved.error());
  if (!saved) return saved;
  base_ = {holds, content.position(), content.page_size()};
  base_log_offset_ = log_->end().log_offset;
  std::vector<log::Pin> pins;
  for (const auto& [reader, pin] : pins_) pins.push_back(pin);
  return log_->retain(holds.txid, pins);
}

Result<void> Database::save_synced_base(log::Log& log, const Position& holds, const Content& content) {
  // Without the mutex: commits go on. What the file gains meanwhile is in the log after `holds`.
  // The log first: the file must not hold for certain what the log does not.
  failpoint::reach("base.before_log_sync");
  RILL_TRY(log.sync());
  failpoint::reach("base.before_file_sync");
  if (auto synced = file_->sync_data("base: sync database"); !synced) {
    // Whatever the error: pages may be lost, and the next sync would not say so.
    Lock lock(mutex_);
    fail(synced.error());
    return synced;
  }
  return save_base(environment_.files, directory(), holds, content);
}

}  // namespace rillfs
