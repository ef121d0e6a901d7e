#include "fs/installation.h"

#include <sys/stat.h>

#include <cerrno>

#include "replication/base/bytes.h"

namespace rillfs {
namespace {
constexpr Label kLabel = "install database";

std::string mark_of(const std::string& directory) { return directory + "/installing"; }
}  // namespace

Result<void> mark_installation(FileSystem& files, const std::string& directory, const std::string& file) {
  struct stat status {};
  if (::stat(file.c_str(), &status) < 0) return errno_error(errno, file);
  std::uint8_t inode[8];
  store_be<std::uint64_t>(inode, status.st_ino);
  RILL_ASSIGN(auto mark, files.open(mark_of(directory), OpenMode::kCreate, kLabel));
  RILL_TRY(mark->write_at(inode, 0, kLabel));
  RILL_TRY(mark->sync_data(kLabel));
  return files.sync_directory(directory, kLabel);
}

Result<void> unmark_installation(FileSystem& files, const std::string& directory) {
  RILL_TRY(files.remove(mark_of(directory), kLabel));
  return files.sync_directory(directory, kLabel);
}

Result<bool> installation_was_interrupted(FileSystem& files, const std::string& directory,
                                          const std::string& path) {
  RILL_ASSIGN(bool marked, files.exists(mark_of(directory), kLabel));
  if (!marked) return false;
  std::uint8_t inode[8] = {};
  RILL_ASSIGN(auto mark, files.open(mark_of(directory), OpenMode::kReadWrite, kLabel));
  RILL_ASSIGN(std::size_t got, mark->read_at(inode, 0, kLabel));
  struct stat status {};
  const bool arrived = got == sizeof inode && ::lstat(path.c_str(), &status) == 0 &&
                       status.st_ino == load_be<std::uint64_t>(inode);
  if (arrived) RILL_TRY(unmark_installation(files, directory));
  return !arrived;
}

}  // namespace rillfs
