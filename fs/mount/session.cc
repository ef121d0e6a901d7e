#include "fs/mount/session.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <new>

#include "replication/base/signals.h"

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

/// Requests larger than this take longer than it takes to wake another worker.
constexpr int kQuickBytesMax = 128 * 1024;

/// Answered in microseconds, as a rule; what may wait for the disk says so itself (waiting.h).
bool is_quick(const fuse_in_header& request, int size) {
  switch (request.opcode) {
    case FUSE_WRITE:
      return size <= kQuickBytesMax;
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_SETATTR:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_CREATE:
    case FUSE_UNLINK:
    case FUSE_FLUSH:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
      return true;
    default:
      return false;
  }
}

/// Whoever sends such a request is about to send more.
bool is_of_a_transaction(const fuse_in_header& request) {
  return request.opcode == FUSE_WRITE || request.opcode == FUSE_FSYNC || request.opcode == FUSE_CREATE ||
         request.opcode == FUSE_UNLINK;
}

}  // namespace

Session::Session(SessionOptions options, fuse_session* session)
    : options_(std::move(options)),
      session_(session),
      polls_(options_.poll.count() > 0 && std::thread::hardware_concurrency() > 1) {}

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
  block_signals();
  set_before_waiting(&lead_);
  fuse_buf buffer{};
  while (lead_.take()) {
    if (lead(buffer)) continue;
    ended_ = true;
    lead_.end();
  }
  std::free(buffer.mem);
}

bool Session::lead(fuse_buf& buffer) {
  for (bool answered = false;; answered = true) {
    if (answered && polls_ &&
        std::chrono::steady_clock::now() < transaction_until_.load(std::memory_order_relaxed))
      poll_device();
    const int received = fuse_session_receive_buf(session_, &buffer);
    if (received == -EINTR) continue;
    if (received == -ENOMEM) {  // for the buffer: as if our own code had met it
      if (auto out_of_memory = std::get_new_handler()) out_of_memory();
      continue;
    }
    if (received <= 0 || fuse_session_exited(session_) != 0) return false;
    const fuse_in_header request = *static_cast<const fuse_in_header*>(buffer.mem);
    if (request.pid != 0) lead_.note_requester(request.pid);  // 0: the kernel itself
    const bool quick = is_quick(request, received);
    if (quick) {
      lead_.begin_answer();
    } else {
      lead_.give();
    }
    fuse_session_process_buf(session_, &buffer);
    if (is_of_a_transaction(request)) {
      transaction_until_.store(std::chrono::steady_clock::now() + options_.transaction,
                               std::memory_order_relaxed);
    }
    if (!quick || !lead_.end_answer()) return true;
  }
}

void Session::poll_device() {
  if (polls_left_out_ > 0) {
    --polls_left_out_;
    return;
  }
  const auto end = std::chrono::steady_clock::now() + options_.poll;
  pollfd device{fuse_session_fd(session_), POLLIN, 0};
  do {
    if (::poll(&device, 1, 0) != 0) {
      vain_in_a_row_ = 0;
      polls_found_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
  } while (std::chrono::steady_clock::now() < end);
  // One is nothing: the application thinks after a commit. The second costs 1 of the next ones, then 3,
  // .. 63.
  vain_in_a_row_ = std::min(vain_in_a_row_ + 1, 7);
  polls_left_out_ = (1 << (vain_in_a_row_ - 1)) - 1;
  polls_in_vain_.fetch_add(1, std::memory_order_relaxed);
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
