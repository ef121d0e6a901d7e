// dbs/rename.json: a rename in the tree that databases are part of, from before it is made until every
// database goes by the name that its file has.
//
//   {"from": "a.db", "from_hex": "...", "to": "b.db", "to_hex": "...", "inode": n, "tree_inode": n,
//    "moved": ["<database id>", ...], "replaced": "<database id>"}
//
// No single step changes both the tree and info.json. A node that dies between them finds the record at its
// next start, sees by the tree which of the two names the file has, and brings every info.json in line
// (Databases::settle_rename). A record that comes back after a power cut does no harm: it names databases by
// id, and what it says of them has happened. One rename at a time, so there is one record.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

struct RenameRecord {
  std::string from, to;  ///< relative to the tree; of a database, another file, or a directory
  std::uint64_t inode = 0;
  std::uint64_t tree_inode = 0;   ///< of the tree's root: another one says that inodes mean nothing any more
  std::vector<DatabaseId> moved;  ///< at `from` or below it
  std::optional<DatabaseId> replaced;  ///< at `to`
};

/// Durable when it returns. `directory`: dbs/.
Result<void> save_rename_record(FileSystem& files, const std::string& directory, const RenameRecord& record);
/// Nothing if there is none; kCorrupt when it cannot be understood.
Result<std::optional<RenameRecord>> load_rename_record(FileSystem& files, const std::string& directory);
/// Durable when it returns, with every name in `directory` that went before.
Result<void> remove_rename_record(FileSystem& files, const std::string& directory);

/// Which name the renamed file has in the tree; kUnknown if neither for certain.
enum class RenameOutcome { kMade, kNotMade, kUnknown };
Result<RenameOutcome> rename_outcome(const std::string& tree_directory, const RenameRecord& record);

/// The directory that `path`, relative to the tree, is in, with a slash before it; "" for the tree itself.
std::string parent_of(const std::string& path);
/// What `path` is called when `from`, which may be a directory above it, is called `to`. Nothing if that
/// changes nothing.
std::optional<std::string> renamed_path(const std::string& path, const std::string& from,
                                        const std::string& to);

}  // namespace rillfs
