#include "cmd/control_protocol.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "cmd/printable.h"

namespace rillfs::cmd {

nlohmann::json error_reply(const Error& error) {
  return {{"error", {{"code", std::string(to_string(error.code))}, {"message", valid_utf8(error.message)}}}};
}

Result<ControlDirectory> ControlDirectory::open(const std::string& data) {
  int fd = ::open(data.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "open data directory " + data);
  return ControlDirectory(fd);
}

ControlDirectory::ControlDirectory(ControlDirectory&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

ControlDirectory::~ControlDirectory() {
  if (fd_ >= 0) close(fd_);
}

std::string ControlDirectory::socket_path() const {
  return "/proc/self/fd/" + std::to_string(fd_) + "/" + kControlSocketName;
}

}  // namespace rillfs::cmd
