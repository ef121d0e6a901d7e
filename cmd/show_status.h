// `rillfs status` and `rillfs primary`: ask the daemon, print its answer.
#pragma once

#include <string>

namespace rillfs::cmd {

/// Both return the exit code. `watch` repeats once a second until interrupted.
int run_status(const std::string& data, bool json, bool watch);
int run_primary(const std::string& data, bool json);

}  // namespace rillfs::cmd
