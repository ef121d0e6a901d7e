// The names that a replicated database has in the mount: how it comes to another one, and how it goes.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "fs/apply/applier.h"
#include "fs/apply/local_names.h"
#include "fs/databases.h"
#include "replication/base/failpoint.h"

namespace rillfs::apply {
namespace {
constexpr Duration kRenameRetryDelay = std::chrono::milliseconds(500);
}

void Applier::rename(const std::string& new_path) {
  wanted_path_ = new_path;
  gives_way_ = false;
  settle_name();
}

void Applier::give_way(const std::string& path) {
  if (!wanted_path_.empty() && wanted_path_ != path) return;
  wanted_path_ = path;
  gives_way_ = true;
  settle_name();
}

void Applier::settle_name() {
  if (closed_ || database_->is_dropped() || wanted_path_.empty()) return;
  auto moved = move_to(wanted_path_);
  const std::string obstacle = moved ? "" : "rename to " + wanted_path_ + ": " + moved.error().message;
  {
    Lock lock(mutex_);
    if (name_obstacle_ != obstacle && !moved && !gives_way_)
      spdlog::warn("{}: {}; trying again", path(), obstacle);
    name_obstacle_ = obstacle;
  }
  if (moved || rename_scheduled_) return;
  rename_scheduled_ = true;
  databases_.delayed().run_after(kRenameRetryDelay, [self = shared_from_this()] {
    boost::asio::post(self->strand_, [self] {
      self->rename_scheduled_ = false;
      self->settle_name();
    });
  });
}

Result<void> Applier::move_to(const std::string& new_path) {
  RILL_TRY(move_companions());
  if (database_->path() == new_path) return {};
  // The lock that hides the half belongs to the name.
  if (is_half_written()) return make_error(ErrorCode::kBusy, "a change set is half written");
  const std::string to = mountpoint_ + "/" + new_path;
  make_parents(mountpoint_, new_path);
  // Before anything is let go of: this may fail for long.
  const std::string directory = to.substr(0, to.rfind('/') + 1) + ".";
  if (::access(directory.c_str(), W_OK | X_OK) < 0) return errno_error(errno, directory);
  if (struct stat status{}; gives_way_ && ::lstat(to.c_str(), &status) == 0) {
    return make_error(ErrorCode::kBusy, "another database has the name for the moment");
  }
  wait_for_checkpoint();
  // Readers that have it open keep their files, whatever the names: what is busy for them is no obstacle.
  if (auto closed = close_appender(); !closed && closed.error().code != ErrorCode::kBusy) {
    return closed.error();
  }
  writer_.reset();
  Lock names(threads_.names());
  const std::string from = path();
  if (!gives_way_) {
    if (auto aside = move_aside(mountpoint_, new_path)) databases_.gave_way(*aside, new_path);
  }
  failpoint::reach("apply.rename.before");
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) < 0) {
    const Error failure = errno_error(errno, from);
    go_on_for_readers();
    return failure;
  }
  companions_of_ = from;
  failpoint::reach("apply.rename.before_companions");
  RILL_TRY(move_companions());
  failpoint::reach("apply.rename.after");
  go_on_for_readers();
  return {};
}

// What is in the WAL is not all in the file while readers hold it: it goes on there, at the latest with the
// next change set.
void Applier::go_on_for_readers() {
  if (database_->application_handles() > 0 && (wal_mode_ || wal_is_left())) (void)open_appender();
}

// Until they are beside the file nothing may be applied: without its WAL the file is incomplete.
Result<void> Applier::move_companions() {
  if (companions_of_.empty()) return {};
  for (const char* suffix : {"-wal", "-shm"}) {
    const std::string from = companions_of_ + suffix;
    if (::rename(from.c_str(), (path() + suffix).c_str()) < 0 && errno != ENOENT) {
      return errno_error(errno, from);
    }
  }
  companions_of_.clear();
  return {};
}

void Applier::set_attributes() {
  const stream::DatabaseInfo info = database_->info();
  // Through the mount, so that the kernel knows. The companions as well: SQLite gives new ones what the
  // database has, and a reader needs all of them.
  for (const char* suffix : {"", "-wal", "-shm"}) {
    const std::string file = path() + suffix;
    const bool owned = ::geteuid() != 0 || ::lchown(file.c_str(), info.uid, info.gid) == 0;
    if (owned && ::chmod(file.c_str(), info.mode) == 0) continue;
    if (errno != ENOENT) spdlog::warn("{}: its mode and owner: {}", file, std::strerror(errno));
  }
}

Result<void> Applier::remove() {
  wait_for_checkpoint();
  if (appender_) {
    // Whoever has just opened the file may come too late for the WAL: then the file shall have everything.
    (void)appender_->checkpoint_passive();
    RILL_TRY(appender_->close(CloseMode::kKeepWal));
    appender_.reset();
    warm_ = false;
  }
  writer_.reset();
  reader_.reset();
  closed_ = true;
  Lock names(threads_.names());
  const std::string file = path();
  failpoint::reach("apply.remove.before_unlink");
  if (::unlink(file.c_str()) < 0 && errno != ENOENT) return errno_error(errno, file);
  failpoint::reach("apply.remove.after_unlink");
  for (const char* suffix : {"-wal", "-shm", "-journal"}) ::unlink((file + suffix).c_str());
  return {};
}

}  // namespace rillfs::apply
