// Open-file-description locks on byte ranges: how we take SQLite's locks.
//
// They conflict with applications' POSIX locks in the kernel, and with those of sqlite3* connections in our
// own process; they belong to the descriptor and are not lost when another descriptor of the file closes.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <utility>

#include "fs/sqlite/lock_bytes.h"
#include "replication/base/clock.h"
#include "replication/base/error.h"

namespace rillfs::apply {

using sqlite::LockRange;

enum class LockMode { kShared, kExclusive };

/// Somebody whose lock conflicts.
struct LockHolder {
  pid_t pid = -1;  ///< -1: an open-file-description lock, which has no process; 0: not to be seen from here
  LockRange range;

  /// "process 123", or words for a lock without process.
  std::string to_text() const;
};

/// A lock on a range of `fd`, released by the destructor. `fd` must outlive it. One descriptor has at most
/// one lock on each byte: taking a second one converts it.
class OfdLock {
 public:
  OfdLock() = default;
  ~OfdLock() { release(); }
  OfdLock(OfdLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), range_(other.range_) {}
  OfdLock& operator=(OfdLock&& other) noexcept;
  OfdLock(const OfdLock&) = delete;
  OfdLock& operator=(const OfdLock&) = delete;

  /// Nothing if somebody else's lock is in the way.
  static Result<std::optional<OfdLock>> try_lock(int fd, LockRange range, LockMode mode);
  /// Tries until `deadline`, with pauses of 50 us to 5 ms; kBusy, naming the holder, after that.
  static Result<OfdLock> lock_until(int fd, LockRange range, LockMode mode, const Clock& clock,
                                    Monotonic deadline);

  /// Shared to exclusive or back, in one step; false if somebody else's lock is in the way (nothing changes).
  Result<bool> try_convert(LockMode mode);
  bool held() const { return fd_ >= 0; }
  void release();

 private:
  OfdLock(int fd, LockRange range) : fd_(fd), range_(range) {}

  int fd_ = -1;
  LockRange range_;
};

/// Who holds a lock that conflicts with this one; nothing if nobody does any more.
Result<std::optional<LockHolder>> find_conflict(int fd, LockRange range, LockMode mode);
/// The same, but POSIX locks of our own process, those of its sqlite3* connections, do not count.
Result<std::optional<LockHolder>> find_conflict_with_others(int fd, LockRange range, LockMode mode);

/// Pauses between attempts: 50 us, doubling up to 5 ms.
class Backoff {
 public:
  void pause();

 private:
  Duration next_ = std::chrono::microseconds(50);
};

}  // namespace rillfs::apply
