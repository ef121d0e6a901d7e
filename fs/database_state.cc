// What a database is and where it stands: identity, registration, publishing.
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

Result<void> Database::require_writable() {
  if (prepared_)
    return errno_error(EBUSY, info_.path + ": a transaction over several databases is being committed");
  if (failure_.empty()) return {};
  if (failure_passes_) return go_on();
  return errno_error(EIO, info_.path + " is closed to writers since " + failure_);
}

Result<void> Database::go_on() {
  auto done = log_->mend();
  bool untouched = false;
  if (done && half_copied_) done = staging_.copy_to(*file_, half_copied_->size, &untouched);
  if (!done && done.error().code != ErrorCode::kNoSpace) {
    fail(done.error());
    return done;
  }
  if (!done) return std::move(done).error().with(info_.path);
  failure_.clear();
  failure_passes_ = false;
  spdlog::info("{}: there is room again", info_.path);
  if (const auto copied = std::exchange(half_copied_, std::nullopt)) show_staged(*copied);
  return {};
}

void Database::fail(const Error& error) {
  const bool passes = error.code == ErrorCode::kNoSpace && (half_copied_ || (log_ && log_->can_be_mended()));
  if (!failure_.empty() && (passes || !failure_passes_)) return;
  failure_passes_ = passes;
  failure_ = error.message;
  if (passes) {
    spdlog::error("{}: {}. It goes on when there is room", info_.path, failure_);
    return;
  }
  failure_ += std::string(". Look after the disk, then restart rillfs") +
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
  return source_ == Source::kTail ? mark_followed() : Result<void>();
}

void Database::publish() {
  move_on();
  environment_.changed(info_.id);
}

void Database::move_on() {
  const bool first = content_.position().txid.value == 0;
  committer_.publish();
  {
    Lock lock(published_mutex_);
    published_ = {info_, content_.position(), log_->end().log_offset};
    applied_ = content_.position();
    last_commit_ms_ = log_->end().timestamp_ms;
  }
  if (first) environment_.registered(shared_from_this(), info_.id);
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
  details.source = source_;
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

void Database::pin_log(const void* reader, std::optional<log::Pin> pin) {
  Lock lock(mutex_);
  if (pin) {
    pins_[reader] = *pin;
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

// What the file had when it was read counts where it is what is committed afterwards.
std::uint32_t Database::read_committed_run(Pgno first, std::uint32_t page_size, MutableBytes into) {
  into = into.first(into.size() / page_size * page_size);
  auto got = file_->read_at(into, (std::uint64_t{first.value} - 1) * page_size, "snapshot: read");
  if (!got) return 0;
  const auto count = static_cast<std::uint32_t>(*got / page_size);
  std::vector<std::uint64_t> sums(count, 0);
  {
    Lock lock(mutex_);
    if (content_.page_size() != page_size) return 0;
    for (std::uint32_t i = 0; i < count; ++i) sums[i] = content_.page(Pgno{first.value + i}).value;
  }
  std::uint32_t good = 0;
  for (; good < count && sums[good] != 0; ++good) {
    const Bytes page = Bytes(into).subspan(std::size_t{good} * page_size, page_size);
    if (ltx::page_checksum(Pgno{first.value + good}, page).value != sums[good]) break;
  }
  return good;
}

}  // namespace rillfs
