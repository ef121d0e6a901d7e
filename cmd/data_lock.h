// One daemon a data directory: a lock file, and the second one is told who holds it.
#pragma once

#include <string>

#include "replication/base/error.h"

namespace rillfs::cmd {

/// Holds `<data>/lock` as long as it lives; the kernel lets go of it when the process ends, however it ends.
class DataLock {
 public:
  /// Makes the data directory if need be. kBusy, with the holder's process id, if somebody else has it.
  static Result<DataLock> take(const std::string& data);
  ~DataLock();
  DataLock(DataLock&& other) noexcept;
  DataLock& operator=(DataLock&&) = delete;

 private:
  explicit DataLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace rillfs::cmd
