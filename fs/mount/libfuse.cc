#include "fs/mount/libfuse.h"

#include <fcntl.h>
#include <stdlib.h>

namespace rillfs::mount {

#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)

// Here the fields have 64 bits, and libfuse keeps a second copy of them: only its functions change both.
void ask_for(fuse_conn_info& connection, std::uint64_t capabilities) {
  fuse_set_feature_flag(&connection, capabilities & connection.capable_ext);
}

void do_without(fuse_conn_info& connection, std::uint64_t capabilities) {
  fuse_unset_feature_flag(&connection, capabilities);
}

#else

void ask_for(fuse_conn_info& connection, std::uint64_t capabilities) {
  connection.want |= static_cast<std::uint32_t>(capabilities) & connection.capable;
}

void do_without(fuse_conn_info& connection, std::uint64_t capabilities) {
  connection.want &= ~static_cast<std::uint32_t>(capabilities);
}

#endif

bool mount_session(fuse_session* session, const std::string& mountpoint) {
  const bool mounted = fuse_session_mount(session, mountpoint.c_str()) == 0;
  // How fusermount3 was to answer: from 3.17 on it stays behind in our own environment.
  ::unsetenv("_FUSE_COMMFD");
  ::unsetenv("_FUSE_COMMFD2");
  if (mounted) ::fcntl(fuse_session_fd(session), F_SETFD, FD_CLOEXEC);
  return mounted;
}

std::string libfuse_version() {
  std::string version = fuse_pkgversion();
#ifdef RILLFS_BUNDLED_FUSE
  version += ", bundled";
#else
  version += ", the system's";
#endif
  if (fuse_version() != FUSE_VERSION)
    version +=
        ", built with " + std::to_string(FUSE_MAJOR_VERSION) + "." + std::to_string(FUSE_MINOR_VERSION);
  return version;
}

}  // namespace rillfs::mount
