// How the commands talk to the daemon of a data directory.
//
// A Unix stream socket, `rillfs.sock` in the data directory, mode 0600: who may read the data may ask. Each
// message is one JSON object on one line. A request names its handler: {"command":"status", ...}; any number
// may follow one another on a connection. A reply is whatever the handler returned; an object with the key
// "error" ({"code":"not found","message":"..."}) is a failure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "replication/base/error.h"

namespace rillfs::cmd {

constexpr std::size_t kControlRequestSizeMax = 64 * 1024;
constexpr std::size_t kControlReplySizeMax = 64 * 1024 * 1024;
constexpr const char* kControlSocketName = "rillfs.sock";

/// The reply that says `error`.
nlohmann::json error_reply(const Error& error);

/// A data directory held open, so that its socket has a short path whatever the directory's is: a Unix socket
/// address has room for 107 bytes only, /proc/self/fd/N/rillfs.sock always fits.
class ControlDirectory {
 public:
  static Result<ControlDirectory> open(const std::string& data);
  ControlDirectory(ControlDirectory&& other) noexcept;
  ControlDirectory& operator=(ControlDirectory&&) = delete;
  ~ControlDirectory();
  /// Valid as long as this object, in the descriptor table that opened it.
  std::string socket_path() const;
  int fd() const { return fd_; }

 private:
  explicit ControlDirectory(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace rillfs::cmd
