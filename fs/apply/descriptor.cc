#include "fs/apply/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace rillfs::apply {

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Result<Descriptor> Descriptor::open(const std::string& path) {
  Descriptor opened;
  do {
    opened.fd_ = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  } while (opened.fd_ < 0 && errno == EINTR);
  if (opened.fd_ < 0) return errno_error(errno, "open " + path);
  return opened;
}

void Descriptor::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Result<std::size_t> Descriptor::read_at(MutableBytes into, std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < into.size()) {
    const ssize_t n = ::pread(fd_, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "read");
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<void> Descriptor::write_at(Bytes bytes, std::uint64_t offset) const {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n =
        ::pwrite(fd_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno_error(errno, "write");
    if (n == 0) return make_error(ErrorCode::kIo, "write: nothing was written");
    done += static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> Descriptor::truncate(std::uint64_t size) const {
  while (::ftruncate(fd_, static_cast<off_t>(size)) != 0)
    if (errno != EINTR) return errno_error(errno, "set the size");
  return {};
}

Result<std::uint64_t> Descriptor::size() const {
  struct statx status {};
  if (::statx(fd_, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &status) != 0)
    return errno_error(errno, "statx");
  return std::uint64_t{status.stx_size};
}

namespace {

/// As the kernel knows it, like size().
Result<FileIdentity> identity(int fd, const char* path, int flags) {
  struct statx status {};
  if (::statx(fd, path, flags | AT_STATX_DONT_SYNC, STATX_INO, &status) != 0) return errno_error(errno, path);
  return FileIdentity{status.stx_ino, status.stx_dev_major, status.stx_dev_minor};
}

}  // namespace

Result<FileIdentity> identity_of(const Descriptor& opened) {
  return identity(opened.get(), "", AT_EMPTY_PATH);
}

Result<void> check_same_file(const std::string& path, const FileIdentity& opened) {
  RILL_ASSIGN(const FileIdentity now, identity(AT_FDCWD, path.c_str(), 0));
  if (now == opened) return {};
  return make_error(ErrorCode::kInvalid, path + " was replaced by another file; open it again");
}

}  // namespace rillfs::apply
