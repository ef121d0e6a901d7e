// Kernel requests: libfuse's low-level callbacks, each one call on the Tree and exactly one reply.
//
// This is one of the three places where an Error becomes something else (an errno), and one of the three
// where exceptions end.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>
#include <unordered_set>

#include "fs/mount/libfuse.h"
#include "fs/mount/tree.h"

namespace rillfs::mount {

/// Requests by kind, counted since the start: how often the kernel had to ask.
enum class RequestKind : std::uint8_t {
  kLookup,
  kGetattr,
  kSetattr,
  kOpen,
  kCreate,
  kRead,
  kWrite,
  kFlush,
  kFsync,
  kRelease,
  kUnlink,
  kRename,
  kDirectory,
  kFallocate,
  kOther,
  kCount
};
std::string_view to_string(RequestKind kind);

/// What the callbacks work on; handed to libfuse as its user data. Threads: any of the session's workers.
struct RequestContext {
  Tree& tree;
  Passthrough& passthrough;
  /// Threads of the daemon that use the mount (see docs/how-it-works.md, Threads). Constant after
  /// construction.
  std::unordered_set<pid_t> daemon_threads;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(RequestKind::kCount)> counts{};
};

/// The table for fuse_session_new, with a RequestContext as user data.
const fuse_lowlevel_ops& request_table();

/// The errno that says what the error says.
int to_errno(const Error& error);

}  // namespace rillfs::mount
