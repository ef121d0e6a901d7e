// The kernel's side of the mount: mounting, the threads that receive requests, unmounting.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fs/mount/requests.h"
#include "replication/base/error.h"

namespace rillfs::mount {

struct SessionOptions {
  std::string mountpoint;
  bool allow_other = true;
  int workers = 16;  ///< threads that answer requests; some may be inside an fdatasync
};

/// Threads: start and stop from one thread.
class Session {
 public:
  /// Mounts. A mount that a dead daemon left at this place is taken over; a live one is refused.
  static Result<std::unique_ptr<Session>> mount(const SessionOptions& options, RequestContext& context);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// The descriptor of /dev/fuse: threads that use the mount must not hold it.
  int device() const;
  /// Starts answering requests.
  void start();
  /// True as soon as somebody has unmounted us from outside.
  bool ended() const { return ended_; }
  /// Asks the kernel to unmount; kBusy while files are open. The workers go on until it has succeeded.
  Result<void> try_unmount();
  /// Cuts the mount off, whatever is open, and returns when no worker runs any more.
  void stop();

 private:
  Session(SessionOptions options, fuse_session* session) : options_(std::move(options)), session_(session) {}
  void work();

  const SessionOptions options_;
  fuse_session* const session_;
  std::vector<std::thread> workers_;
  std::atomic<bool> ended_{false};
  bool mounted_ = true;
};

}  // namespace rillfs::mount
