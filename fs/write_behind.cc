#include "fs/write_behind.h"

#include <fcntl.h>
#include <unistd.h>

namespace rillfs {
namespace {
/// Large enough for the disk to work well, small against what it writes in a second.
constexpr std::uint64_t kStep = 8 << 20;
}  // namespace

WriteBehind::~WriteBehind() {
  if (fd_ >= 0) ::close(fd_);
}

void WriteBehind::open(const std::string& path) { fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC); }

void WriteBehind::written(std::uint64_t end) {
  if (fd_ < 0 || end < begun_ + kStep) return;
  (void)::sync_file_range(fd_, static_cast<off64_t>(begun_), static_cast<off64_t>(end - begun_),
                          SYNC_FILE_RANGE_WRITE);
  begun_ = end;
}

}  // namespace rillfs
