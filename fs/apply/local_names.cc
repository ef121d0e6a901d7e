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

void move_aside(const std::string& mountpoint, const std::string& path) {
  const std::string file = mountpoint + "/" + path;
  struct stat status {};
  if (::lstat(file.c_str(), &status) < 0) return;
  for (int n = 1;; ++n) {
    const std::string aside = file + ".local-" + std::to_string(n);
    if (::lstat(aside.c_str(), &status) == 0) continue;
    spdlog::warn("{} is a database on the primary: the local file of this name is now {}.local-{}", path,
                 path, n);
    ::rename(file.c_str(), aside.c_str());
    return;
  }
}

}  // namespace rillfs::apply
