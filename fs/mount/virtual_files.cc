#include "fs/mount/virtual_files.h"

#include <unistd.h>

#include "fs/database.h"

namespace rillfs::mount {
namespace {
constexpr std::uint64_t kPrimary = VirtualFiles::kBit | 1;
constexpr std::uint64_t kLag = VirtualFiles::kBit | 2;
constexpr std::string_view kPosSuffix = "-pos";
}  // namespace

bool VirtualFiles::could_be(bool in_root, std::string_view name) {
  return (in_root && (name == ".primary" || name == ".lag")) ||
         (name.size() > kPosSuffix.size() && name.ends_with(kPosSuffix));
}

std::optional<std::uint64_t> VirtualFiles::find(std::uint64_t parent, bool in_root,
                                                const std::string& name) const {
  if (in_root && name == ".lag") return kLag;
  if (in_root && name == ".primary") {
    return databases_.is_primary() ? std::nullopt : std::optional(kPrimary);
  }
  if (!could_be(in_root, name)) return std::nullopt;
  auto found = databases_.find(parent, name.substr(0, name.size() - kPosSuffix.size()));
  if (!found || !found->replicated()) return std::nullopt;
  // Identities are random 64-bit numbers: the lower 63 bits tell databases apart just as well.
  return kBit | found->id().value;
}

std::optional<std::string> VirtualFiles::content(std::uint64_t id) const {
  if (id == kLag) return std::to_string(databases_.lag_ms()) + "\n";
  if (id == kPrimary) {
    if (databases_.is_primary()) return std::nullopt;
    return databases_.primary_address() + "\n";
  }
  auto found = databases_.find_by_low_bits(id & ~kBit);
  if (!found) return std::nullopt;
  // So that it is current when COMMIT has returned.
  if (databases_.is_primary()) (void)found->drain(Database::Look::kThorough);
  const Position position = databases_.is_primary() ? found->published() : found->applied_position();
  return to_text(position) + "\n";
}

struct stat VirtualFiles::status(std::uint64_t id) const {
  struct stat status {};
  status.st_ino = id;
  status.st_mode = S_IFREG | 0444;
  status.st_nlink = 1;
  status.st_uid = ::getuid();
  status.st_gid = ::getgid();
  status.st_blksize = 4096;
  status.st_size = static_cast<off_t>(content(id).value_or("").size());
  return status;
}

}  // namespace rillfs::mount
