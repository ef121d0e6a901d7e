// dbs/<id>/installing: the file that a replica's first snapshot has filled is on its way to its name.
//
// Another database's file may still have that name, and the move and what is recorded about it are two steps:
// the mark holds the inode number of the file in the spool directory, so that recovery can tell whether it
// has arrived. It is there from before the database's directory counts as one until after the move.
#pragma once

#include <string>

#include "replication/base/error.h"
#include "replication/base/file_system.h"

namespace rillfs {

/// `file`: the one to be moved.
Result<void> mark_installation(FileSystem& files, const std::string& directory, const std::string& file);
Result<void> unmark_installation(FileSystem& files, const std::string& directory);
/// True if an installation was under way and its file is not what has the name `path` now.
Result<bool> installation_was_interrupted(FileSystem& files, const std::string& directory,
                                          const std::string& path);

}  // namespace rillfs
