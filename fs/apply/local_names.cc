#include "fs/apply/local_names.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

namespace rillfs::apply {

void make_parents(const std::string& mountpoint, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    ::mkdir((mountpoint + "/" + path.substr(0, slash)).c_str(), 0755);
  }
}

namespace {

/// A long name loses its end, so that the new one and its companions' are names still.
std::string name_aside(const std::string& path, int n) {
  const std::string suffix = ".local-" + std::to_string(n);
  const std::size_t directory = path.rfind('/') + 1;  // 0 where there is none
  const std::size_t room = NAME_MAX - std::strlen("-journal") - suffix.size();
  return path.substr(0, directory) + path.substr(directory, room) + suffix;
}

}  // namespace

std::optional<std::string> move_aside(const std::string& mountpoint, const std::string& path) {
  const std::string below = mountpoint + "/";
  struct stat status {};
  if (::lstat((below + path).c_str(), &status) < 0) return std::nullopt;
  int n = 1;
  while (::lstat((below + name_aside(path, n)).c_str(), &status) == 0) ++n;
  const std::string aside = name_aside(path, n);
  if (::rename((below + path).c_str(), (below + aside).c_str()) < 0) {
    spdlog::error("{} is a database on the primary: what has this name here cannot be renamed to {}: {}",
                  path, aside, std::strerror(errno));
    return std::nullopt;
  }
  spdlog::warn("{} is a database on the primary: what had this name here is now {}", path, aside);
  // Its companions too: beside the newcomer they would be taken for the newcomer's.
  for (const std::string suffix : {"-wal", "-shm", "-journal"}) {
    ::rename((below + path + suffix).c_str(), (below + aside + suffix).c_str());
  }
  return aside;
}

}  // namespace rillfs::apply
