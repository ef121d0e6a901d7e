// libfuse, and all in which its versions differ for us: 3.14 (Debian 12) to 3.18. Nothing else includes it.
#pragma once

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <cstdint>
#include <string>

namespace rillfs::mount {

/// The largest READ and WRITE that the kernel may send.
constexpr std::uint32_t kRequestSizeMax = 1 << 20;

/// For the init callback: makes `capabilities` (FUSE_CAP_*) wanted where the kernel has them.
void ask_for(fuse_conn_info& connection, std::uint64_t capabilities);
/// For the init callback: makes `capabilities` not wanted, also where libfuse wants them by itself.
void do_without(fuse_conn_info& connection, std::uint64_t capabilities);

/// Mounts at `mountpoint`, with the device closed in programs that we start. False if that failed; libfuse
/// has written why to standard error. Threads: only while there is no other that reads the environment.
bool mount_session(fuse_session* session, const std::string& mountpoint);

/// The libfuse that this process runs with, and where it is from: `3.14.0, the system's`; with what it was
/// built, if that is another.
std::string libfuse_version();

}  // namespace rillfs::mount
