// Keeps the daemon's address space alive until the daemon is dead, so that a kill -9 cannot leave it hanging.
//
// The daemon maps the wal-index of databases in its own mount. When a process dies, its last thread tears the
// address space down, which for such a mapping means writing dirty pages through the mount and waiting for it
// (fuse_vma_close). A thread does that *before* it lets go of its descriptors. If that last thread is one
// that holds /dev/fuse, it waits for ever for an answer that nobody gives, the connection is never cut, and
// every application hangs with it. Keeping the device out of the descriptor table of the threads that use the
// mount (fs/apply/mount_threads.h) does not help here: the last thread may be any.
//
// So the address space gets one more user: a process of a few instructions that shares the memory (CLONE_VM),
// but neither the descriptors nor the signals, and sleeps until the daemon is gone. Then no dying thread of
// the daemon is the last; all of them close their descriptors, the kernel cuts the connection, and when the
// keeper tears the mappings down at last, writing fails at once instead of waiting.
#pragma once

#include <sys/types.h>

#include <memory>

#include "replication/base/error.h"

namespace rillfs::mount {

/// Threads: construct and destroy on the main thread.
class MemoryKeeper {
 public:
  /// To be called before the device is opened: the keeper has a copy of the descriptors that are open now,
  /// which it closes.
  static Result<std::unique_ptr<MemoryKeeper>> start();
  /// An orderly stop: the mount is gone, the keeper is no longer needed.
  ~MemoryKeeper();
  MemoryKeeper(const MemoryKeeper&) = delete;
  MemoryKeeper& operator=(const MemoryKeeper&) = delete;

 private:
  explicit MemoryKeeper(pid_t pid, void* stack) : pid_(pid), stack_(stack) {}
  const pid_t pid_;
  void* const stack_;
};

}  // namespace rillfs::mount
