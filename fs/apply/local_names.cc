#include "fs/apply/local_names.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cstdio>

namespace rillfs::apply {

void make_parents(const std::string& mountpoint, const std::string& path) {
  for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    ::mkdir((mountpoint + "/" + path.substr(0, slash)).c_str(), 0755);
  }
}

std::optional<std::string> move_aside(const std::string& mountpoint, const std::string& path) {
  const std::string file = mountpoint + "/" + path;
  struct stat status {};
  if (::lstat(file.c_str(), &status) < 0) return std::nullopt;
  int n = 1;
  while (::lstat((file + ".local-" + std::to_string(n)).c_str(), &status) == 0) ++n;
  const std::string aside = ".local-" + std::to_string(n);
  spdlog::warn("{} is a database on the primary: what had this name here is now {}{}", path, path, aside);
  // Its companions too: beside the newcomer they would be taken for the newcomer's.
  for (const std::string suffix : {"", "-wal", "-shm", "-journal"}) {
    ::rename((file + suffix).c_str(), (file + aside + suffix).c_str());
  }
  return path + aside;
}

}  // namespace rillfs::apply
