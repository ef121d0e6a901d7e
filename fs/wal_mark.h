// dbs/<id>/followed: the WAL may have commits that the log does not have yet (source "tail").
//
// Its content is the boot id of the machine when it was written. It is not synced: within one boot the kernel
// has it, and the backing WAL, whatever becomes of the daemon; after another boot neither counts.
#pragma once

#include <string>

#include "replication/base/error.h"
#include "replication/base/file_system.h"

namespace rillfs {

Result<void> save_wal_mark(FileSystem& files, const std::string& directory, const std::string& boot_id);
Result<void> remove_wal_mark(FileSystem& files, const std::string& directory);
/// Whether there is one of this boot.
Result<bool> has_wal_mark(FileSystem& files, const std::string& directory, const std::string& boot_id);

/// The kernel's; empty if it has none, which counts as another one each time.
std::string current_boot_id();

}  // namespace rillfs
