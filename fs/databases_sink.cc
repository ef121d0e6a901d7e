// A replica's databases as the subscriber fills them.
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>

#include "fs/database_info.h"
#include "fs/databases.h"
#include "fs/installation.h"
#include "fs/mount_work.h"
#include "fs/parking.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {
/// The file is as the primary has it, as far as this process may change it.
bool has_attributes(const std::string& file, const stream::DatabaseInfo& info) {
  struct stat status {};
  if (::lstat(file.c_str(), &status) < 0) return true;  // on its way to another name
  const bool owned = ::geteuid() != 0 || (status.st_uid == info.uid && status.st_gid == info.gid);
  return owned && (status.st_mode & 07777) == info.mode;
}
}  // namespace

stream::DatabaseInfo Databases::with_overrides(stream::DatabaseInfo info) const {
  info.uid = node_.owner.value_or(info.uid);
  info.gid = node_.group.value_or(info.gid);
  info.mode = node_.mode.value_or(info.mode);
  return info;
}

Result<void> Databases::announce(const stream::DatabaseInfo& announced) {
  const stream::DatabaseInfo info = with_overrides(announced);
  MountWork* work = work_;
  {
    Lock lock(mutex_);
    if (auto it = receiving_.find(info.id.value); it != receiving_.end()) it->second->set_info(info);
  }
  if (auto prepared = take_prepared(info.id); prepared && work != nullptr) {
    prepared->recovered.info = info;
    RILL_TRY(save_database_info(environment_.files, environment_.database_directory(info.id), info));
    prepare(std::move(*prepared));
    work->install(info.id);
    return {};
  }
  RILL_ASSIGN(auto database, installed(info.id));
  if (!database) return {};
  RILL_TRY(database->set_attributes(info.mode, info.uid, info.gid));
  if (work == nullptr) return {};
  work->rename(database, info.path);
  const std::string file = environment_.tree_directory() + "/" + database->path();
  if (!has_attributes(file, info)) work->set_attributes(database);
  return {};
}

Result<void> Databases::drop(DatabaseId id, bool unknown) {
  {
    Lock lock(mutex_);
    receiving_.erase(id.value);
  }
  if (auto prepared = take_prepared(id)) return discard(std::move(*prepared));
  RILL_ASSIGN(auto database, installed(id));
  MountWork* work = work_;
  if (!database || work == nullptr) return {};
  if (unknown) {
    spdlog::warn("{}: the primary has no such database and does not know why; what is here is parked",
                 database->path());
    RILL_TRY(park(environment_, *database));
  }
  work->remove(database);
  return {};
}

/// What this node has and its primary's history does not is lost: kept where a person can look at it. The
/// primary may have gone on since, further than this node.
Result<void> Databases::park_what_is_beyond(Database& database, const Position& start,
                                            stream::History history) {
  const Position here = database.published();
  if (here.same_place(start)) return {};
  const bool lost = here.txid >= start.txid || history == stream::History::kAnother;
  // Nobody knows any more, and there has been another primary since.
  const bool may_be_lost = history == stream::History::kUnknown && here.epoch != start.epoch;
  if (!lost && !may_be_lost) return {};
  if (!lost)
    spdlog::warn(
        "{}: the primary's log does not reach back to {}, and it is not the primary of then: what is "
        "here may be a branch, and is parked",
        database.path(), to_text(here));
  return park(environment_, database);
}

Result<std::unique_ptr<SnapshotReceiver>> Databases::new_receiver(const stream::DatabaseInfo& info,
                                                                  const Position& start,
                                                                  std::uint32_t page_size) {
  {
    Lock lock(mutex_);
    receiving_.erase(info.id.value);  // its file has the same name
  }
  return SnapshotReceiver::begin(environment_, info, start, page_size);
}

Result<void> Databases::begin_snapshot(const stream::DatabaseInfo& announced, const Position& start,
                                       std::uint32_t page_size, Pgno, stream::History history) {
  const stream::DatabaseInfo info = with_overrides(announced);
  if (auto prepared = take_prepared(info.id)) RILL_TRY(discard(std::move(*prepared)));
  RILL_ASSIGN(auto database, installed(info.id));
  if (database) RILL_TRY(park_what_is_beyond(*database, start, history));
  RILL_ASSIGN(auto receiver, new_receiver(info, start, page_size));
  Lock lock(mutex_);
  receiving_[info.id.value] = std::move(receiver);
  return {};
}

Result<void> Databases::begin_difference(const stream::DatabaseInfo& announced, const Position& start,
                                         std::uint32_t page_size, stream::History history) {
  const stream::DatabaseInfo info = with_overrides(announced);
  RILL_ASSIGN(auto database, installed(info.id));
  if (!database || database->page_size() != page_size)
    return make_error(ErrorCode::kUnsupported, info.path + ": nothing here has pages of this size");
  RILL_TRY(park_what_is_beyond(*database, start, history));
  RILL_ASSIGN(auto receiver, new_receiver(info, start, page_size));
  RILL_TRY(receiver->compare_with(environment_.tree_directory() + "/" + database->path()));
  Lock lock(mutex_);
  receiving_[info.id.value] = std::move(receiver);
  return {};
}

std::shared_ptr<SnapshotReceiver> Databases::receiver(DatabaseId id) const {
  Lock lock(mutex_);
  auto it = receiving_.find(id.value);
  return it == receiving_.end() ? nullptr : it->second;
}

Result<std::vector<std::uint64_t>> Databases::page_sums(DatabaseId id, Pgno first, std::uint32_t count) {
  auto receiver = this->receiver(id);
  if (!receiver) return make_error(ErrorCode::kNotFound, "no snapshot is under way: " + to_hex(id.value));
  return receiver->page_sums(first, count);
}

Result<void> Databases::snapshot_page(DatabaseId id, Pgno pgno, Bytes page) {
  auto receiver = this->receiver(id);
  if (!receiver)
    return make_error(ErrorCode::kInvalid, "snapshot page without a snapshot: " + to_hex(id.value));
  return receiver->page(pgno, page);
}

Result<void> Databases::end_snapshot(DatabaseId id, const Position& end) {
  auto receiver = this->receiver(id);
  if (!receiver) return make_error(ErrorCode::kInvalid, "end of a snapshot without one: " + to_hex(id.value));
  RILL_TRY(receiver->end(end));
  return finish_snapshot(id);
}

Result<void> Databases::finish_snapshot(DatabaseId id) {
  std::shared_ptr<SnapshotReceiver> receiver;
  {
    Lock lock(mutex_);
    auto it = receiving_.find(id.value);
    if (it == receiving_.end() || !it->second->complete()) return {};
    receiver = it->second;
    receiving_.erase(it);
  }
  RILL_TRY(receiver->verify());
  MountWork* work = work_;
  if (work == nullptr) return make_error(ErrorCode::kClosed, "the mount is going away");
  if (auto database = find_by_id(id)) {
    RILL_TRY(database->receive_snapshot(receiver->path(), receiver->content()));
    work->apply(database);
    return {};
  }
  const Content content = receiver->content();
  const std::string directory = environment_.database_directory(id);
  FileSystem& files = environment_.files;
  RILL_TRY(files.make_directories(directory + "/log", "install database"));
  failpoint::reach("install.before_mark");
  RILL_TRY(mark_installation(files, directory, receiver->path()));
  failpoint::reach("install.after_mark");
  RILL_TRY(save_database_info(files, directory, receiver->info()));
  failpoint::reach("install.after_info");
  RILL_TRY(save_base(files, directory, content.position(), content));
  failpoint::reach("install.after_base");
  RILL_TRY(files.sync_directory(environment_.databases_directory(), "install database"));
  const log::LogState start{content.position(), content.hash(), 0, 0};
  RILL_ASSIGN(auto opened, log::Log::open(files, environment_.clock, directory + "/log", id, start,
                                          environment_.log_options, content.position().txid));
  receiver->release();
  prepare({{receiver->info(),
            content,
            {content.position(), content.position(), content.page_size()},
            std::move(opened.log)},
           receiver->path()});
  failpoint::reach("install.before_place");
  work->install(id);
  return {};
}

void Databases::prepare(Prepared prepared) {
  const std::uint64_t id = prepared.recovered.info.id.value;
  Lock lock(mutex_);
  installing_.insert(id);
  prepared_.insert_or_assign(id, std::move(prepared));
}

std::optional<std::string> Databases::prepared_path(DatabaseId id) const {
  Lock lock(mutex_);
  auto it = prepared_.find(id.value);
  if (it == prepared_.end()) return std::nullopt;
  return it->second.recovered.info.path;
}

std::optional<Databases::Prepared> Databases::take_prepared(DatabaseId id) {
  Lock lock(mutex_);
  auto it = prepared_.find(id.value);
  if (it == prepared_.end()) return std::nullopt;
  std::optional<Prepared> prepared(std::move(it->second));
  prepared_.erase(it);
  return prepared;
}

Result<void> Databases::discard(Prepared prepared) {
  const DatabaseId id = prepared.recovered.info.id;
  {
    Lock lock(mutex_);
    installing_.erase(id.value);
  }
  prepared.recovered.log.reset();
  RILL_TRY(environment_.files.remove(prepared.file, "drop database"));
  return remove_database_directory(environment_, id);
}

Result<std::shared_ptr<File>> Databases::put_in_place(const Prepared& prepared, int parent_fd,
                                                      const std::string& path) {
  const stream::DatabaseInfo& info = prepared.recovered.info;
  FileSystem& files = environment_.files;
  RILL_ASSIGN(std::shared_ptr<File> file,
              files.open(prepared.file, OpenMode::kReadWrite, "install database"));
  if (::chmod(prepared.file.c_str(), info.mode) < 0) return errno_error(errno, "mode of " + path);
  if (::geteuid() == 0 && ::chown(prepared.file.c_str(), info.uid, info.gid) < 0) {
    return errno_error(errno, "owner of " + path);
  }
  failpoint::reach("install.before_rename");
  RILL_TRY(files.rename(prepared.file, environment_.tree_directory() + "/" + path, "install database"));
  failpoint::reach("install.after_rename");
  // It is there, and must not be expected in the spool again. While it may not be on disk, the mark stays:
  // the next start looks whether the file has arrived.
  auto settled = files.sync_directory("/proc/self/fd/" + std::to_string(parent_fd), "install database");
  if (settled) settled = unmark_installation(files, environment_.database_directory(info.id));
  if (!settled) spdlog::warn("{}: {}", path, settled.error().message);
  failpoint::reach("install.after_unmark");
  return file;
}

Result<bool> Databases::install_prepared(std::uint64_t parent_inode, int parent_fd, const std::string& name,
                                         const std::string& path) {
  std::optional<Prepared> prepared;
  {
    Lock lock(mutex_);
    auto it = std::find_if(prepared_.begin(), prepared_.end(),
                           [&](const auto& entry) { return entry.second.recovered.info.path == path; });
    if (it == prepared_.end()) return false;
    prepared = std::move(it->second);
    prepared_.erase(it);
  }
  const stream::DatabaseInfo info = prepared->recovered.info;
  auto file = put_in_place(*prepared, parent_fd, path);
  if (!file) {
    prepare(std::move(*prepared));  // whoever waits for it, or drops it, finds it again
    return std::move(file).error();
  }
  auto database =
      own(std::make_unique<Database>(environment_, std::move(prepared->recovered), std::move(*file)));
  {
    Lock lock(mutex_);
    by_place_[{parent_inode, name}] = database;
    by_id_[info.id.value] = database;
    installing_.erase(info.id.value);
  }
  spdlog::info("{}: snapshot complete, position {}", path, to_text(database->published()));
  progressed(*database);
  return true;
}

Result<void> Databases::change_set(DatabaseId id, const stream::ChangeSetInfo& info, const Image& image) {
  if (auto receiver = this->receiver(id)) {
    RILL_TRY(receiver->change_set(info, image));
    return finish_snapshot(id);
  }
  RILL_ASSIGN(auto database, installed(id));
  if (!database)
    return make_error(ErrorCode::kPositionMismatch, "database " + to_hex(id.value) + " is not here");
  RILL_TRY(database->receive(info, image));
  progressed(*database);
  if (MountWork* work = work_) work->apply(database);
  return {};
}

void Databases::gave_way(const std::string& aside, const std::string& path) {
  MountWork* work = work_;
  for (const auto& database : all()) {
    if (work != nullptr && database->path() == aside) work->give_way(database, path);
  }
}

Result<std::shared_ptr<Database>> Databases::installed(DatabaseId id) const {
  Lock lock(mutex_);
  // A thread that uses the mount puts it in place. That thread may need the workers, so they do not wait
  // here.
  if (installing_.contains(id.value))
    return make_error(ErrorCode::kBusy, "its snapshot is being put in place");
  auto it = by_id_.find(id.value);
  return it == by_id_.end() ? nullptr : it->second;
}

void Databases::progressed(const Database& database) {
  if (descriptor_table() == 0) return report(database);
  // A mount thread: what listens wakes the network by a descriptor that means nothing in that thread's table,
  // so that the network would sleep on.
  boost::asio::post(workers_, [this, kept = database.shared_from_this()] { report(*kept); });
}

void Databases::report(const Database& database) {
  const DatabaseId id = database.id();
  // The position is read under the lock, so that no older one is reported after a newer one.
  Lock lock(listeners_mutex_);
  if (progressed_) progressed_({id, database.published(), database.applied_position()});
}

void Databases::listen(std::function<void(const Progress&)> progressed) {
  Lock lock(listeners_mutex_);
  progressed_ = std::move(progressed);
}

}  // namespace rillfs
