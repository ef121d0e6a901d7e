// info.json: the replicated name and attributes of a database, in its directory under dbs/.
//
//   {"path": "tenants/42/app.db", "path_hex": "...", "mode": 420, "uid": 0, "gid": 0}
//
// Names are bytes: path_hex is the one that counts, path is for people.
#pragma once

#include <string>

#include "fs/environment.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/stream/databases.h"

namespace rillfs {

Result<void> save_database_info(FileSystem& files, const std::string& directory,
                                const stream::DatabaseInfo& info);
/// `id` comes from the directory's name. kCorrupt when the file cannot be understood.
Result<stream::DatabaseInfo> load_database_info(FileSystem& files, const std::string& directory,
                                                DatabaseId id);

/// Removes dbs/<id>, with its log, or what an interrupted removal has left of it.
Result<void> remove_database_directory(Environment& environment, DatabaseId id);

}  // namespace rillfs
