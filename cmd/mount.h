// `rillfs mount`: runs a node until it is told to stop.
#pragma once

#include "cmd/config.h"

namespace rillfs::cmd {

/// Returns the exit code: that of `config.exec` if there is one, else 0 after an orderly stop. Has reported
/// any error on stderr. The mountpoint is set.
int run_mount(const Config& config);

}  // namespace rillfs::cmd
