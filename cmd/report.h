// Exit codes, and errors for people: the one place in which an Error becomes both.
//
//   0  it worked
//   1  it did not; stderr says what, why and what to do
//   2  the command line or the configuration is wrong; nothing was tried
#pragma once

#include "replication/base/error.h"

namespace rillfs::cmd {

constexpr int kExitOk = 0;
constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

/// Writes "rillfs: <message>" to stderr; returns `exit_code`.
int report(const Error& error, int exit_code = kExitFailure);

}  // namespace rillfs::cmd
