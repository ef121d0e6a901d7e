#include "cmd/mount.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "cmd/report.h"
#include "replication/base/file_system.h"

namespace rillfs::cmd {
namespace {

Result<int> lock_data_directory(const std::string& data) {
  PosixFileSystem files;
  RILL_TRY(files.make_directories(data, "mount: make data directory"));
  std::string path = data + "/lock";
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return errno_error(errno, "open " + path);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  int why = errno;
  close(fd);
  if (why != EWOULDBLOCK) return errno_error(why, "lock " + path);
  return make_error(ErrorCode::kBusy, "another rillfs is running on " + data + "; stop it first");
}

}  // namespace

int run_mount(const Config& config) {
  auto lock = lock_data_directory(config.data);
  if (!lock) return report(lock.error());
  close(*lock);
  return report(make_error(ErrorCode::kUnsupported, "this build has no mount"));
}

}  // namespace rillfs::cmd
