// Keeps the daemon's memory alive until the daemon's descriptors are closed, so that kill -9 ends it.
//
// A thread that dies gives up the process's memory first and its descriptors after that. Whichever thread is
// the last to give up the memory unmaps the wal-indexes, and the kernel writes back what is dirty in them: a
// WRITE request to this very mount. Were that a thread of descriptor table 0, it would wait for an answer
// while /dev/fuse, which it still holds open, keeps the kernel from ending the connection: the daemon would
// stay for ever, and every application in the mount with it (seen: after a few kills of a busy replica).
//
// So one more process shares the memory (clone with CLONE_VM): nobody else can be the last. It holds no
// descriptor but the reading end of a pipe, whose writing end is in table 0 only. When that table is gone,
// and /dev/fuse with it, the pipe ends and so does the process; what it unmaps then meets an ended
// connection.
//
// Killed together with the daemon (a control group's kill), it cannot help.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <memory>

#include "replication/base/error.h"

namespace rillfs::apply {

/// Threads: start and destroy from one thread of descriptor table 0.
class MemoryKeeper {
 public:
  /// Before /dev/fuse is opened, and before MountThreads.
  static Result<std::unique_ptr<MemoryKeeper>> start();
  ~MemoryKeeper();
  MemoryKeeper(const MemoryKeeper&) = delete;
  MemoryKeeper& operator=(const MemoryKeeper&) = delete;

  pid_t pid() const { return pid_; }

 private:
  MemoryKeeper() = default;
  static int run(void* keeper);

  static constexpr std::size_t kStackSize = 64 * 1024;
  std::unique_ptr<std::byte[]> stack_;
  int reading_end_ = -1;  ///< number in the keeper's table; closed here
  int writing_end_ = -1;
  pid_t pid_ = -1;
};

}  // namespace rillfs::apply
