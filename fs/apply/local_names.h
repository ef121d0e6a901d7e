// What a replica does with files of its own that are in the way of a database.
#pragma once

#include <optional>
#include <string>

namespace rillfs::apply {

/// Makes every directory above `path` through the mount.
void make_parents(const std::string& mountpoint, const std::string& path);

/// Renames what is at `path`, if anything is, with its companions, to NAME.local-1 or the next number that is
/// free; a name that gets too long loses its end before that. Returns its new path; nothing if there was
/// nothing, or if it could not be renamed, which is logged.
std::optional<std::string> move_aside(const std::string& mountpoint, const std::string& path);

}  // namespace rillfs::apply
