// Kernel passthrough: reads and writes of an open file go straight to its backing file, without a request.
//
// Who opens a file says so in the answer to OPEN or CREATE, with the number of a backing file that was handed
// to the kernel before. All handles of one inode that are open together must agree: with a backing file, and
// the same one, or without. It needs Linux 6.9, CAP_SYS_ADMIN, libfuse 3.17 to say it, and a data directory
// that is not itself on a stacked file system.
//
// Source of the two ioctls: the kernel's include/uapi/linux/fuse.h.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "fs/mount/libfuse.h"
#include "replication/base/mutex.h"

namespace rillfs::mount {

/// What the kernel calls a backing file; 0 is none.
using BackingId = std::int32_t;

/// Threads: any of descriptor table 0; `negotiate` before any other.
class Passthrough {
 public:
  /// Before the mount is there: it is not to be used.
  void refuse(std::string why) {
    refused_ = true;
    give_up(std::move(why));
  }
  /// For the init callback.
  void negotiate(fuse_conn_info& connection);
  /// Returns when the kernel has made its first request, which it does as soon as somebody answers.
  void wait_until_negotiated() const { negotiated_.wait(false); }
  /// The device that the ioctls go to, once the mount is there; -1 takes it away.
  void use_device(int device) { device_ = device; }

  /// False for good once it is not to be had; `why_not` says why.
  bool possible() const { return possible_.load(std::memory_order_relaxed); }
  /// Empty while it is possible.
  std::string why_not() const;

  /// Hands the file behind `path` to the kernel; 0 if the kernel does not take it, and `why_not` knows why.
  BackingId open(const std::string& path);
  void close(BackingId id);

 private:
  void give_up(std::string why);
  void agree(fuse_conn_info& connection);

  bool refused_ = false;  ///< constant once the mount is there
  std::atomic<bool> possible_{false};
  std::atomic<bool> negotiated_{false};
  std::atomic<int> device_{-1};
  mutable Mutex mutex_;
  std::string why_not_ RILL_GUARDED_BY(mutex_) = "the mount is not there yet";
};

/// Puts the backing file into the answer to OPEN or CREATE. The other flags that the kernel allows beside it
/// are set as well.
void answer_with_backing(fuse_file_info& answer, BackingId id);

}  // namespace rillfs::mount
