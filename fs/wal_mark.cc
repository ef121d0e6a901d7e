#include "fs/wal_mark.h"

#include <fstream>

namespace rillfs {
namespace {
constexpr Label kMark = "note followed WAL";
constexpr std::size_t kBootIdSizeMax = 64;
std::string path_of(const std::string& directory) { return directory + "/followed"; }
}  // namespace

Result<void> save_wal_mark(FileSystem& files, const std::string& directory, const std::string& boot_id) {
  RILL_ASSIGN(auto file, files.open(path_of(directory), OpenMode::kCreate, kMark));
  RILL_TRY(file->truncate(0, kMark));
  return file->write_at(Bytes(reinterpret_cast<const std::uint8_t*>(boot_id.data()), boot_id.size()), 0,
                        kMark);
}

Result<void> remove_wal_mark(FileSystem& files, const std::string& directory) {
  return remove_if_there(files, path_of(directory), kMark);
}

Result<bool> has_wal_mark(FileSystem& files, const std::string& directory, const std::string& boot_id) {
  RILL_ASSIGN(const bool there, files.exists(path_of(directory), kMark));
  if (!there || boot_id.empty()) return false;
  RILL_ASSIGN(const Buffer content, read_file(files, path_of(directory), kBootIdSizeMax, kMark));
  return std::string(content.begin(), content.end()) == boot_id;
}

std::string current_boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

}  // namespace rillfs
