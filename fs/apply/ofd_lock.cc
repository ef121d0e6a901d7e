#include "fs/apply/ofd_lock.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <thread>

namespace rillfs::apply {
namespace {

struct flock describe(LockRange range, short type) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = range.start;
  lock.l_len = range.length;
  return lock;
}

short type_of(LockMode mode) { return mode == LockMode::kShared ? F_RDLCK : F_WRLCK; }

Result<bool> set_lock(int fd, LockRange range, short type) {
  struct flock lock = describe(range, type);
  for (;;) {
    if (::fcntl(fd, F_OFD_SETLK, &lock) == 0) return true;
    if (errno == EAGAIN || errno == EACCES) return false;
    if (errno != EINTR) return errno_error(errno, "lock");
  }
}

Result<std::optional<LockHolder>> query(int fd, int command, LockRange range, LockMode mode) {
  struct flock lock = describe(range, type_of(mode));
  while (::fcntl(fd, command, &lock) != 0)
    if (errno != EINTR) return errno_error(errno, "query lock");
  if (lock.l_type == F_UNLCK) return std::optional<LockHolder>();
  return std::optional<LockHolder>(LockHolder{lock.l_pid, {lock.l_start, lock.l_len}});
}

}  // namespace

std::string LockHolder::to_text() const {
  if (pid == 0) return "a process of another container";
  return pid < 0 ? "another descriptor of this service" : "process " + std::to_string(pid);
}

OfdLock& OfdLock::operator=(OfdLock&& other) noexcept {
  if (this != &other) {
    release();
    fd_ = std::exchange(other.fd_, -1);
    range_ = other.range_;
  }
  return *this;
}

Result<std::optional<OfdLock>> OfdLock::try_lock(int fd, LockRange range, LockMode mode) {
  RILL_ASSIGN(const bool locked, set_lock(fd, range, type_of(mode)));
  if (!locked) return std::optional<OfdLock>();
  return std::optional<OfdLock>(OfdLock(fd, range));
}

Result<OfdLock> OfdLock::lock_until(int fd, LockRange range, LockMode mode, const Clock& clock,
                                    Monotonic deadline) {
  for (Backoff backoff;;) {
    RILL_ASSIGN(auto lock, try_lock(fd, range, mode));
    if (lock) return std::move(*lock);
    if (clock.monotonic() >= deadline) break;
    backoff.pause();
  }
  RILL_ASSIGN(const auto holder, find_conflict(fd, range, mode));
  return make_error(ErrorCode::kBusy,
                    "locked by " + (holder ? holder->to_text() : "somebody until just now"));
}

Result<bool> OfdLock::try_convert(LockMode mode) { return set_lock(fd_, range_, type_of(mode)); }

void OfdLock::release() {
  if (fd_ < 0) return;
  // Unlocking a range of an open descriptor cannot conflict; a failure leaves nothing to be done.
  (void)set_lock(std::exchange(fd_, -1), range_, F_UNLCK);
}

Result<std::optional<LockHolder>> find_conflict(int fd, LockRange range, LockMode mode) {
  return query(fd, F_OFD_GETLK, range, mode);
}

Result<std::optional<LockHolder>> find_conflict_with_others(int fd, LockRange range, LockMode mode) {
  return query(fd, F_GETLK, range, mode);
}

void Backoff::pause() {
  std::this_thread::sleep_for(next_);
  next_ = std::min<Duration>(next_ * 2, std::chrono::milliseconds(5));
}

}  // namespace rillfs::apply
