// Files that exist in the mount only: `.primary`, `.lag` in the root, `X-pos` beside each replicated database
// X.
//
// They are looked up by name but not listed, read-only, and never cached by the kernel. Their numbers have
// the top bit set, which no backing inode has.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "fs/databases.h"

namespace rillfs::mount {

/// Threads: any.
class VirtualFiles {
 public:
  static constexpr std::uint64_t kBit = std::uint64_t{1} << 63;
  static bool is_virtual(std::uint64_t id) { return (id & kBit) != 0; }

  explicit VirtualFiles(Databases& databases) : databases_(databases) {}

  /// A name that could become virtual must never be remembered as missing.
  static bool could_be(bool in_root, std::string_view name);
  /// The number of the virtual file of this name, if there is one now.
  std::optional<std::uint64_t> find(std::uint64_t parent, bool in_root, const std::string& name) const;
  /// Its whole content now; nothing when it is gone.
  std::optional<std::string> content(std::uint64_t id) const;
  struct stat status(std::uint64_t id) const;

 private:
  Databases& databases_;
};

}  // namespace rillfs::mount
