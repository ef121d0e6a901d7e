// What a database is and where it stands: identity, registration, publishing, the replay base.
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "fs/database.h"
#include "fs/database_info.h"
#include "fs/rename_record.h"
#include "fs/sqlite/database_header.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr Label kNoteUnlogged = "note unlogged write";
}

Database::Database(Environment& environment, std::string path, std::shared_ptr<File> file)
    : environment_(environment), file_(std::move(file)), committer_(environment, content_) {
  info_.path = std::move(path);
}

Database::Database(Environment& environment, Recovered recovered, std::shared_ptr<File> file)
    : environment_(environment),
      file_(std::move(file)),
      info_(std::move(recovered.info)),
      replicated_(true),
      content_(std::move(recovered.content)),
      base_(recovered.base),
      log_(std::move(recovered.log)),
      committer_(environment, content_) {
  std::uint8_t start[sqlite::kDatabaseHeaderSize] = {};
  if (auto got = file_->read_at(start, 0, "database: read"); got && *got == sizeof start) {
    if (auto header = sqlite::parse_database_header(start)) wal_mode_ = header->is_wal();
  }
  published_ = {info_, content_.position(), log_->end().log_offset};
  applied_ = content_.position();
  applying_sizes_.fill(std::uint64_t{content_.page_count().value} * content_.page_size());
  last_commit_ms_ = log_->end().timestamp_ms;
}

Database::~Database() = default;

bool Database::replicated() const {
  Lock lock(mutex_);
  return replicated_ && !dropped_;
}

DatabaseId Database::id() const {
  Lock lock(mutex_);
  return info_.id;
}

stream::DatabaseInfo Database::info() const {
  Lock lock(mutex_);
  return info_;
}

std::string Database::path() const { return info().path; }

Result<void> Database::save_info() const {
  if (!replicated_) return {};
  return save_database_info(environment_.files, environment_.database_directory(info_.id), info_);
}

void Database::set_path(std::string path) {
  Lock lock(mutex_);
  info_.path = std::move(path);
  {
    Lock published(published_mutex_);
    published_.info = info_;
  }
  if (replicated_) environment_.changed(info_.id);
}

Result<void> Database::save() const {
  Lock lock(mutex_);
  if (dropped_) return {};  // its directory goes, or has gone
  return save_info();
}

DatabaseId Database::reserve_id() {
  Lock lock(mutex_);
  if (replicated_) return info_.id;
  if (!reserved_id_) reserved_id_ = DatabaseId{environment_.random.next_id()};
  return *reserved_id_;
}

Result<void> Database::set_attributes(std::uint32_t mode, std::uint32_t uid, std::uint32_t gid) {
  Lock lock(mutex_);
  if (info_.mode == mode && info_.uid == uid && info_.gid == gid) return {};
  info_.mode = mode;
  info_.uid = uid;
  info_.gid = gid;
  {
    Lock published(published_mutex_);
    published_.info = info_;
  }
  RILL_TRY(save_info());
  if (replicated_) environment_.changed(info_.id);
  return {};
}

void Database::start_attributes(std::uint32_t mode, std::uint32_t uid, std::uint32_t gid) {
  Lock lock(mutex_);
  info_.mode = mode;
  info_.uid = uid;
  info_.gid = gid;
}

Result<void> Database::remove_directory() {
  Lock lock(mutex_);
  return remove_database_directory(environment_, info_.id);
}

bool Database::dropped() {
  Lock lock(mutex_);
  dropped_ = true;
  unlogged_writes_ = 0;
  return replicated_;
}

bool Database::is_dropped() const { return dropped_; }

bool Database::captures(Caller caller) const {
  return environment_.primary && caller == Caller::kApplication && !dropped_;
}

Result<void> Database::require_writable() const {
  if (prepared_)
    return errno_error(EBUSY, info_.path + ": a transaction over several databases is being committed");
  if (failure_.empty()) return {};
  return errno_error(EIO, info_.path + " is closed to writers since " + failure_);
}

void Database::fail(const Error& error) {
  if (!failure_.empty()) return;
  failure_ = error.message + ". Look after the disk, then restart rillfs" +
             (environment_.primary ? "" : "; until then it falls behind the primary");
  spdlog::error("{}: {}. {}", info_.path, failure_,
                environment_.primary
                    ? "The database is closed to writers; what was committed is safe in its log"
                    : "What it does not have is safe with the primary");
}

Result<void> Database::make_replicated() {
  info_.id =
      reserved_id_ ? *std::exchange(reserved_id_, std::nullopt) : DatabaseId{environment_.random.next_id()};
  const std::string directory = environment_.database_directory(info_.id);
  failpoint::reach("create.before_directory");
  RILL_TRY(environment_.files.make_directories(directory + "/log", "create database"));
  failpoint::reach("create.before_info");
  RILL_TRY(save_database_info(environment_.files, directory, info_));
  failpoint::reach("create.before_base");
  RILL_TRY(save_base(environment_.files, directory, Position{}, Content{}));
  RILL_TRY(environment_.files.sync_directory(environment_.databases_directory(), "create database"));
  // The application may never have asked for its file's name to be on disk; without it there is no database.
  RILL_TRY(environment_.files.sync_directory(environment_.tree_directory() + parent_of(info_.path),
                                             "create database"));
  failpoint::reach("create.before_log");
  RILL_ASSIGN(auto opened, log::Log::open(environment_.files, environment_.clock, directory + "/log",
                                          info_.id, {}, environment_.log_options, Txid{}));
  log_ = std::move(opened.log);
  replicated_ = true;
  return {};
}

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
  if (!synced) fail(synced.error());
  return synced;
}

bool Database::is_durable(Txid txid) const {
  Lock lock(mutex_);
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
  if (!synced) {
    Lock lock(mutex_);
    fail(synced.error());
  }
  return synced;
}

Result<void> Database::log_before_file() {
  Txid shown{applying_};
  if (environment_.primary) {
    Lock lock(mutex_);
    if (journal_hot_) return {};  // is staged
    shown = content_.position().txid;
  }
  return is_durable(shown) ? Result<void>() : make_durable();
}

void Database::publish() {
  const bool first = content_.position().txid.value == 0;
  committer_.publish();
  {
    Lock lock(published_mutex_);
    published_ = {info_, content_.position(), log_->end().log_offset};
    applied_ = content_.position();
    last_commit_ms_ = log_->end().timestamp_ms;
  }
  if (first) environment_.registered(shared_from_this(), info_.id);
  environment_.changed(info_.id);
}

Result<void> Database::begin_unlogged_write() {
  if (unlogged_writes_ == 0 && replicated_) {
    // A crash must not replay the log over what is being written, and a power cut must not leave it without
    // the mark: the file would be taken for what the log says. From the mark on it is the other way round:
    // the file is believed, so everything that was committed has to be in it for certain.
    const std::string directory = environment_.database_directory(info_.id);
    RILL_TRY(sync_content());
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

stream::DatabaseState Database::state() const {
  Lock lock(published_mutex_);
  return published_;
}

Position Database::published() const {
  Lock lock(published_mutex_);
  return published_.position;
}

Position Database::applied_position() const {
  Lock lock(published_mutex_);
  return applied_;
}

bool Database::wal_mode() const {
  Lock lock(mutex_);
  return wal_mode_;
}

Pgno Database::page_count() const {
  Lock lock(mutex_);
  return content_.page_count();
}

std::vector<std::uint64_t> Database::page_sums(Pgno first, std::uint32_t count) const {
  std::vector<std::uint64_t> sums(count, 0);
  Lock lock(mutex_);
  for (std::uint32_t i = 0; i < count; ++i) sums[i] = content_.page(Pgno{first.value + i}).value;
  return sums;
}

std::uint32_t Database::page_size() const {
  Lock lock(mutex_);
  return content_.page_size();
}

std::string Database::directory() const { return environment_.database_directory(id()); }
std::string Database::log_directory() const { return directory() + "/log"; }

Database::Details Database::details() const {
  Lock lock(mutex_);
  Details details;
  details.position = published();
  details.base = base_.position;
  details.size = std::uint64_t{content_.page_count().value} * content_.page_size();
  details.log_bytes = log_ ? log_->bytes_on_disk() : 0;
  details.page_size = content_.page_size();
  details.wal_mode = wal_mode_;
  details.failure = failure_;
  Lock published(published_mutex_);
  details.last_commit_ms = last_commit_ms_;
  return details;
}

Content Database::content() const {
  Lock lock(mutex_);
  return content_;
}

void Database::application_opened() { application_handles_.fetch_add(1); }
int Database::application_closed() { return application_handles_.fetch_sub(1) - 1; }

void Database::pin_log(const void* reader, std::optional<Txid> after) {
  Lock lock(mutex_);
  if (after) {
    pins_[reader] = *after;
  } else {
    pins_.erase(reader);
  }
}

Result<bool> Database::read_committed_page(Pgno pgno, MutableBytes into) {
  Lock lock(mutex_);
  const Checksum expected = content_.page(pgno);
  if (!expected.present()) return false;
  const MutableBytes page = into.first(content_.page_size());
  auto read = read_page_below(pgno, content_.page_size(), page);
  if (read && ltx::page_checksum(pgno, page) == expected) return true;
  if (has_unlogged_writes()) {
    return make_error(ErrorCode::kBusy, info_.path + ": its content is being taken over as it is");
  }
  if (!read) return std::move(read).error();
  return make_error(ErrorCode::kCorrupt,
                    info_.path + ": page " + std::to_string(pgno.value) +
                        " is not what was committed; it is not sent to any replica. Check the "
                        "disk, and compare with a replica's copy");
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
  std::optional<Txid> pinned;
  for (const auto& [reader, txid] : pins_) pinned = std::min(pinned.value_or(txid), txid);
  return log_->retain(holds.txid, pinned);
}

Result<void> Database::save_synced_base(log::Log& log, const Position& holds, const Content& content) {
  // Without the mutex: commits go on. What the file gains meanwhile is in the log after `holds`.
  // The log first: the file must not hold for certain what the log does not.
  failpoint::reach("base.before_log_sync");
  RILL_TRY(log.sync());
  failpoint::reach("base.before_file_sync");
  RILL_TRY(file_->sync_data("base: sync database"));
  return save_base(environment_.files, directory(), holds, content);
}

}  // namespace rillfs
