#include "cmd/control_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "cmd/control_protocol.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;
using SteadyClock = std::chrono::steady_clock;

/// A connected socket that keeps to one deadline for all it does.
class Connection {
 public:
  Connection(int fd, std::chrono::milliseconds timeout) : fd_(fd), deadline_(SteadyClock::now() + timeout) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { close(fd_); }

  Result<void> send_all(std::string_view text) {
    while (!text.empty()) {
      RILL_TRY(wait(POLLOUT));
      ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN && errno != EINTR) return errno_error(errno, "send the request");
      if (sent > 0) text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return {};
  }

  Result<std::string> receive_line() {
    std::string line;
    std::array<char, 16384> chunk{};
    for (;;) {
      RILL_TRY(wait(POLLIN));
      ssize_t got = recv(fd_, chunk.data(), chunk.size(), 0);
      if (got == 0) return make_error(ErrorCode::kClosed, "the daemon closed the connection without a reply");
      if (got < 0 && errno != EAGAIN && errno != EINTR) return errno_error(errno, "receive the reply");
      if (got < 0) continue;
      line.append(chunk.data(), static_cast<std::size_t>(got));
      if (chunk[static_cast<std::size_t>(got) - 1] == '\n') return line;
      if (line.size() > kControlReplySizeMax)
        return make_error(ErrorCode::kInvalid, "the daemon's reply is longer than 64MiB");
    }
  }

 private:
  Result<void> wait(short event) {
    for (;;) {
      auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - SteadyClock::now());
      pollfd entry{fd_, event, 0};
      int ready = left.count() > 0 ? poll(&entry, 1, static_cast<int>(left.count())) : 0;
      if (ready > 0) return {};
      if (ready == 0) return make_error(ErrorCode::kBusy, "the daemon does not answer; its log may say why");
      if (errno != EINTR) return errno_error(errno, "poll");
    }
  }

  int fd_;
  SteadyClock::time_point deadline_;
};

Error not_running(const std::string& data, const std::string& why) {
  return make_error(ErrorCode::kNotFound,
                    "no rillfs is running on " + data + ": " + why +
                        "; start one with 'rillfs mount --data DIR MOUNTPOINT', or name another with --data");
}

}  // namespace

Result<json> ask_daemon(const std::string& data, const json& request, std::chrono::milliseconds timeout) {
  auto directory = ControlDirectory::open(data);
  if (!directory) return not_running(data, directory.error().message);

  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return errno_error(errno, "socket");
  Connection connection(fd, timeout);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::string path = directory->socket_path();
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    int why = errno;
    // A local socket never answers EINPROGRESS; EAGAIN is a full queue of connections.
    if (why == EAGAIN) return make_error(ErrorCode::kBusy, "the daemon has too many connections; try again");
    if (why == EACCES)
      return make_error(ErrorCode::kIo, "not allowed to ask the rillfs on " + data +
                                            "; run this as the user that runs it, or as root");
    return not_running(data, why == ENOENT         ? "it has no control socket"
                             : why == ECONNREFUSED ? "its control socket was left behind by one that ended"
                                                   : std::strerror(why));
  }
  RILL_TRY(connection.send_all(request.dump() + "\n"));
  RILL_ASSIGN(std::string line, connection.receive_line());
  json reply = json::parse(line, nullptr, false);
  if (!reply.is_object()) return make_error(ErrorCode::kInvalid, "the daemon's reply is not a JSON object");
  if (auto error = reply.find("error"); error != reply.end()) {
    bool has_message = error->is_object() && error->contains("message") && (*error)["message"].is_string();
    return make_error(ErrorCode::kInvalid,
                      has_message ? (*error)["message"].get<std::string>() : std::string(error->dump()));
  }
  return Result<json>(boost::system::in_place_value,
                      std::move(reply));  // json converts to anything: say which
}

Result<NodeStatus> ask_status(const std::string& data) {
  RILL_ASSIGN(json reply, ask_daemon(data, {{"command", "status"}}));
  return status_from_json(reply);
}

}  // namespace rillfs::cmd
