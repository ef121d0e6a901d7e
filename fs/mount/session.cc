#include "fs/mount/session.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>

namespace rillfs::mount {
namespace {

constexpr const char* kSubtype = "rillfs";

/// Whether /proc says that something is mounted right here, and of which type.
std::string mounted_type(const std::string& mountpoint) {
  std::ifstream mounts("/proc/self/mounts");
  std::string device;
  std::string place;
  std::string type;
  std::string rest;
  std::string found;
  while (mounts >> device >> place >> type && std::getline(mounts, rest)) {
    if (place == mountpoint) found = type;
  }
  return found;
}

Result<void> take_over_stale(const std::string& mountpoint) {
  // Forced, since the kernel would answer from its cache for a daemon that is gone.
  struct statx status {};
  if (::statx(AT_FDCWD, mountpoint.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status) == 0) {
    if (mounted_type(mountpoint).find(kSubtype) == std::string::npos) return {};
    return make_error(ErrorCode::kBusy,
                      mountpoint + " is mounted already by a running rillfs; unmount it first");
  }
  if (errno != ENOTCONN && errno != ECONNABORTED) return errno_error(errno, "mount point " + mountpoint);
  spdlog::warn("{} was left mounted by a daemon that died: taking it over", mountpoint);
  if (::umount2(mountpoint.c_str(), MNT_FORCE | MNT_DETACH) == 0) return {};
  const std::string command = "fusermount3 -u -z -- '" + mountpoint + "' 2>/dev/null";
  if (errno == EPERM && mountpoint.find('\'') == std::string::npos && std::system(command.c_str()) == 0)
    return {};
  return errno_error(errno, "unmount the stale " + mountpoint);
}

}  // namespace

Result<std::unique_ptr<Session>> Session::mount(const SessionOptions& options, RequestContext& context) {
  RILL_TRY(take_over_stale(options.mountpoint));
  struct stat status {};
  if (::stat(options.mountpoint.c_str(), &status) < 0) return errno_error(errno, options.mountpoint);
  if (!S_ISDIR(status.st_mode)) return errno_error(ENOTDIR, "mount point " + options.mountpoint);

  std::string mount_options = "default_permissions,fsname=rillfs,subtype=rillfs";
  if (options.allow_other) mount_options += ",allow_other";
  const char* argv[] = {"rillfs", "-o", mount_options.c_str(), nullptr};
  fuse_args args = FUSE_ARGS_INIT(3, const_cast<char**>(argv));
  fuse_session* session = fuse_session_new(&args, &request_table(), sizeof(fuse_lowlevel_ops), &context);
  fuse_opt_free_args(&args);
  if (session == nullptr) return make_error(ErrorCode::kInvalid, "libfuse refused the mount options");
  if (!mount_session(session, options.mountpoint)) {
    fuse_session_destroy(session);
    return make_error(ErrorCode::kIo,
                      "mounting " + options.mountpoint +
                          " failed; is /dev/fuse there, and may this user mount (see above)?");
  }
  return std::unique_ptr<Session>(new Session(options, session));
}

Session::~Session() {
  stop();
  fuse_session_destroy(session_);
}

int Session::device() const { return fuse_session_fd(session_); }

void Session::start() {
  for (int i = 0; i < options_.workers; ++i) workers_.emplace_back([this] { work(); });
}

void Session::work() {
  // Signals belong to the main thread.
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  fuse_buf buffer{};
  while (!fuse_session_exited(session_)) {
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received == -EINTR) continue;
    if (received <= 0) break;
    fuse_session_process_buf(session_, &buffer);
  }
  std::free(buffer.mem);
  ended_ = true;
}

Result<void> Session::try_unmount() {
  if (!mounted_ || ended_) return {};
  if (::umount2(options_.mountpoint.c_str(), 0) == 0) {
    mounted_ = false;
    return {};
  }
  if (errno == EBUSY) return make_error(ErrorCode::kBusy, options_.mountpoint + " is in use");
  return errno_error(errno, "unmount " + options_.mountpoint);
}

void Session::stop() {
  if (mounted_) {
    if (::umount2(options_.mountpoint.c_str(), MNT_DETACH | MNT_FORCE) < 0 && errno == EPERM) {
      fuse_session_unmount(session_);
    }
    mounted_ = false;
  }
  fuse_session_exit(session_);
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

}  // namespace rillfs::mount
