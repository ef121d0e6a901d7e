// What a replica does with files of its own that are in the way of a database.
#pragma once

#include <optional>
#include <string>

namespace rillfs::apply {

/// Makes every directory above `path` through the mount.
void make_parents(const std::string& mountpoint, const std::string& path);

/// Renames what is at `path`, if anything is, with its companions, to NAME.local-1 or the next number that is
/// free. Returns its new path; nothing if there was nothing.
std::optional<std::string> move_aside(const std::string& mountpoint, const std::string& path);

}  // namespace rillfs::apply
