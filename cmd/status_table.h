// A node's status as a page of text for a terminal.
#pragma once

#include <string>

#include "cmd/status.h"

namespace rillfs::cmd {

/// Everything that `rillfs status` shows. Times are relative to the node's own clock (`now_ms`).
std::string render_status(const NodeStatus& status, bool colour);
/// The answer of `rillfs primary`: one line.
std::string render_primary(const NodeStatus& status, bool colour);

}  // namespace rillfs::cmd
