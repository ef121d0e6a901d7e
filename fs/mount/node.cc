#include "fs/mount/node.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <utility>

namespace rillfs::mount {

Node::~Node() {
  if (path_fd_ >= 0) ::close(path_fd_);
}

std::string Node::proc_path() const { return "/proc/self/fd/" + std::to_string(path_fd_); }

std::string Node::backing_path() const {
  char buffer[PATH_MAX];
  ssize_t n = ::readlink(proc_path().c_str(), buffer, sizeof buffer);
  if (n <= 0 || static_cast<std::size_t>(n) == sizeof buffer) return {};
  return {buffer, static_cast<std::size_t>(n)};
}

Result<struct stat> Node::status() const {
  struct stat status {};
  if (::fstatat(path_fd_, "", &status, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
    return errno_error(errno, "stat");
  return status;
}

Node::Binding Node::binding() const {
  Lock lock(mutex_);
  return binding_;
}

void Node::bind(Binding binding) {
  Lock lock(mutex_);
  binding_ = std::move(binding);
}

Node::Place Node::place() const {
  Lock lock(mutex_);
  return place_;
}

void Node::set_place(Place place) {
  Lock lock(mutex_);
  place_ = std::move(place);
}

Result<std::shared_ptr<File>> Node::open(std::unique_ptr<File> created, Passthrough* passthrough) {
  Lock lock(mutex_);
  if (!io_ && created) io_ = std::move(created);
  if (!io_) {
    int fd = ::open(proc_path().c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0 && (errno == EACCES || errno == EROFS || errno == EPERM)) {
      fd = ::open(proc_path().c_str(), O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0) return errno_error(errno, "open " + place_.name);
    io_ = adopt_file(fd, place_.name);
  }
  if (opens_ == 0 && passthrough != nullptr) {
    backing_ = passthrough->open(proc_path());
    passthrough_ = passthrough;
    if (backing_ != 0) was_passed_through_ = true;
  }
  ++opens_;
  return io_;
}

void Node::close() {
  std::shared_ptr<File> last;
  Lock lock(mutex_);
  if (opens_ == 0 || --opens_ != 0) return;
  last = std::move(io_);
  if (backing_ != 0) passthrough_->close(std::exchange(backing_, 0));
}

BackingId Node::backing() const {
  Lock lock(mutex_);
  return backing_;
}

std::shared_ptr<File> Node::io() const {
  Lock lock(mutex_);
  return io_;
}

}  // namespace rillfs::mount
