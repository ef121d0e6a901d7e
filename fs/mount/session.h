// The kernel's side of the mount: mounting, the threads that receive requests, unmounting.
//
// Most of what a request costs is waking up a worker on another core. An application that writes a
// transaction sends one request after the other, some microseconds apart. So after answering one, the leader
// (lead.h) polls the device for a little while before it blocks. Only then: a mount that nobody writes to
// uses no CPU, and one thread at most polls. Where polls are in vain (all cores are busy, so that the
// application does not come to its next request) they become rare: they would only take time from it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "fs/mount/lead.h"
#include "fs/mount/requests.h"
#include "replication/base/error.h"

namespace rillfs::mount {

struct SessionOptions {
  std::string mountpoint;
  bool allow_other = true;
  int workers = 16;                    ///< threads that answer requests; some may be inside an fdatasync
  std::chrono::microseconds poll{40};  ///< for the next request of a transaction; on one core never
  std::chrono::microseconds transaction{200};  ///< after a WRITE one is taken to be open for so long
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
  /// Since the start.
  struct Polls {
    std::uint64_t found = 0;       ///< ended with a request
    std::uint64_t in_vain = 0;     ///< did not
    std::uint64_t taken_away = 0;  ///< answers during which the leader had to be replaced
  };
  Polls polls() const { return {polls_found_.load(), polls_in_vain_.load(), lead_.taken_away()}; }
  /// Cuts the mount off, whatever is open, and returns when no worker runs any more.
  void stop();

 private:
  Session(SessionOptions options, fuse_session* session);
  void work();
  /// As the leader: receives and answers requests until the lead is given away. False: there are no more.
  bool lead(fuse_buf& buffer);
  /// Unless polls have been in vain lately.
  void poll_device();

  const SessionOptions options_;
  fuse_session* const session_;
  const bool polls_;
  Lead lead_;
  std::vector<std::thread> workers_;
  std::atomic<std::chrono::steady_clock::time_point> transaction_until_{};
  int vain_in_a_row_ = 0;   ///< the leader's: polls
  int polls_left_out_ = 0;  ///< the leader's: still to come
  std::atomic<std::uint64_t> polls_found_{0};
  std::atomic<std::uint64_t> polls_in_vain_{0};
  std::atomic<bool> ended_{false};
  bool mounted_ = true;
};

}  // namespace rillfs::mount
