#include "fs/mount/passthrough.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace rillfs::mount {
namespace {

struct BackingMap {
  std::int32_t fd;
  std::uint32_t flags;
  std::uint64_t padding;
};
constexpr unsigned kDeviceType = 229;
constexpr unsigned long kBackingOpen = _IOW(kDeviceType, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(kDeviceType, 2, std::uint32_t);

std::string reason(int error) {
  switch (error) {
    case EPERM:
      return "the kernel lets only root (CAP_SYS_ADMIN) pass files through";
    case ELOOP:
      return "the data directory is on a stacked file system (overlay), whose files the kernel does not pass "
             "through; put it on a disk of its own";
    default:
      return std::string("the kernel does not pass files through: ") + std::strerror(error);
  }
}

}  // namespace

#ifdef FUSE_CAP_PASSTHROUGH

void Passthrough::agree(fuse_conn_info& connection) {
  if (refused_) return do_without(connection, FUSE_CAP_PASSTHROUGH);
  Lock lock(mutex_);
  if ((connection.capable_ext & FUSE_CAP_PASSTHROUGH) == 0) {
    why_not_ = "this kernel cannot pass files through; Linux 6.9 and newer can";
    return;
  }
  ask_for(connection, FUSE_CAP_PASSTHROUGH);
  connection.max_backing_stack_depth = FUSE_BACKING_STACKED_UNDER;
  why_not_.clear();
  possible_ = true;
}

void answer_with_backing(fuse_file_info& answer, BackingId id) {
  answer.backing_id = id;
  answer.keep_cache = 0;
  answer.direct_io = 0;
}

#else

void Passthrough::agree(fuse_conn_info&) {
  if (refused_) return;
  give_up(
      "this rillfs was built with a libfuse that cannot pass files through; 3.17 and newer can "
      "(RILLFS_BUNDLED_FUSE)");
}

void answer_with_backing(fuse_file_info&, BackingId) {}

#endif

void Passthrough::negotiate(fuse_conn_info& connection) {
  agree(connection);
  negotiated_ = true;
  negotiated_.notify_all();
}

std::string Passthrough::why_not() const {
  Lock lock(mutex_);
  return why_not_;
}

void Passthrough::give_up(std::string why) {
  Lock lock(mutex_);
  possible_ = false;
  why_not_ = std::move(why);
}

BackingId Passthrough::open(const std::string& path) {
  if (!possible()) return 0;
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return 0;  // a file that may only be read: answered by requests
  BackingMap map{fd, 0, 0};
  const int id = ::ioctl(device_, kBackingOpen, &map);
  // Short of descriptors, for example: then this one file is answered by requests.
  const bool final = errno == EPERM || errno == ELOOP || errno == ENOTTY || errno == EOPNOTSUPP;
  if (id <= 0 && final) give_up(reason(errno));
  ::close(fd);
  return id > 0 ? id : 0;
}

void Passthrough::close(BackingId id) {
  auto number = static_cast<std::uint32_t>(id);
  ::ioctl(device_, kBackingClose, &number);
}

}  // namespace rillfs::mount
