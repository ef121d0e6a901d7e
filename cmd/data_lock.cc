#include "cmd/data_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "replication/base/file_system.h"

namespace rillfs::cmd {
namespace {

/// A daemon that was killed holds it until the kernel has ended the last of its processes.
constexpr std::chrono::seconds kPatience{2};

bool lock_soon(int fd) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (::flock(fd, LOCK_EX | LOCK_NB) < 0) {
    if (errno != EWOULDBLOCK || std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

}  // namespace

Result<DataLock> DataLock::take(const std::string& data) {
  PosixFileSystem files;
  RILL_TRY(files.make_directories(data, "data directory"));
  const std::string path = data + "/lock";
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return errno_error(errno, "open " + path);
  DataLock lock(fd);
  char holder[32] = {};
  if (!lock_soon(fd)) {
    if (errno != EWOULDBLOCK) return errno_error(errno, "lock " + path);
    if (::pread(fd, holder, sizeof holder - 1, 0) <= 0) holder[0] = '?';
    return make_error(ErrorCode::kBusy, "another rillfs (process " + std::string(holder) +
                                            ") is running on " + data +
                                            "; stop it first, or give this one a data directory of its own");
  }
  const std::string pid = std::to_string(::getpid());
  if (::ftruncate(fd, 0) < 0 || ::pwrite(fd, pid.data(), pid.size(), 0) < 0) return errno_error(errno, path);
  return lock;
}

DataLock::DataLock(DataLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

DataLock::~DataLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace rillfs::cmd
