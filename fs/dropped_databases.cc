#include "fs/dropped_databases.h"

#include <algorithm>

namespace rillfs {
namespace {
constexpr Label kLabel = "dropped databases";
constexpr std::size_t kLine = 17;
}  // namespace

Result<void> DroppedDatabases::load() {
  Lock lock(mutex_);
  RILL_ASSIGN(bool there, files_.exists(path_, kLabel));
  if (!there) return {};
  RILL_ASSIGN(auto file, files_.open(path_, OpenMode::kRead, kLabel));
  RILL_ASSIGN(const std::uint64_t size, file->size(kLabel));
  const std::uint64_t lines = size / kLine;
  const std::uint64_t first = lines - std::min<std::uint64_t>(lines, kRemembered);
  Buffer text((lines - first) * kLine);
  RILL_TRY(file->read_exact_at(text, first * kLine, kLabel));
  for (std::size_t at = 0; at < text.size(); at += kLine) {
    const auto id = from_hex(std::string(reinterpret_cast<const char*>(&text[at]), kLine - 1));
    if (id) ids_.insert(*id);
  }
  size_ = lines * kLine;  // what is torn at the end is written over
  if (lines < 2 * kRemembered) return {};
  RILL_TRY(replace_file(files_, path_, text, kLabel));
  size_ = text.size();
  return {};
}

Result<void> DroppedDatabases::add(DatabaseId id) {
  Lock lock(mutex_);
  ids_.insert(id.value);
  RILL_ASSIGN(auto file, files_.open(path_, OpenMode::kCreate, kLabel));
  const std::string line = to_hex(id.value) + "\n";
  RILL_TRY(
      file->write_at(Bytes(reinterpret_cast<const std::uint8_t*>(line.data()), line.size()), size_, kLabel));
  size_ += line.size();
  return {};
}

bool DroppedDatabases::contains(DatabaseId id) const {
  Lock lock(mutex_);
  return ids_.contains(id.value);
}

}  // namespace rillfs
