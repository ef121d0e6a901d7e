// The daemon's end of the control socket (protocol: cmd/control_protocol.h).
//
// Sessions are coroutines on the io_context; handlers run on the worker executor, several at once, and may
// block there. Limits: 32 connections, 64 KiB a request, 30 s for a request to arrive or a reply to be taken.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "replication/base/error.h"

namespace boost::asio {
class io_context;
}

namespace rillfs::cmd {

class ControlServer {
 public:
  /// From the request to the reply. An exception becomes an error reply.
  using Handler = std::function<nlohmann::json(const nlohmann::json&)>;

  /// `io` and `worker` outlive the server and run until after stop().
  ControlServer(boost::asio::io_context& io, boost::asio::any_io_executor worker);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// Registers a handler; only before start().
  void handle(std::string command, Handler handler);
  /// Binds `<data>/rillfs.sock`, replacing one that nobody answers; kBusy if somebody does. Once only.
  Result<void> start(const std::string& data);
  /// Removes the socket, ends all sessions and waits for them and their handlers. Not from a thread of `io`
  /// or `worker`, which have to be running. Idempotent.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace rillfs::cmd
