// A command's end of the control socket (protocol: cmd/control_protocol.h).
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "cmd/status.h"
#include "replication/base/error.h"

namespace rillfs::cmd {

constexpr std::chrono::seconds kControlTimeout{10};

/// Sends one request and waits for its reply. kNotFound when no daemon runs on `data`, kBusy when it does not
/// answer in time, the daemon's own error when the reply is one.
Result<nlohmann::json> ask_daemon(const std::string& data, const nlohmann::json& request,
                                  std::chrono::milliseconds timeout = kControlTimeout);
/// The command "status".
Result<NodeStatus> ask_status(const std::string& data);

}  // namespace rillfs::cmd
