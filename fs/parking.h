// A branch that lost: what a node had beyond its primary is kept, never silently destroyed.
//
//   parked/<database id>-<epoch>-<txid>/     database (a complete SQLite file as of that position), info.json
//   parked/<database id>-not-taken-over[-n]/ database, database-wal, database-journal (what was there, as it
//   was)
#pragma once

#include "fs/database.h"
#include "fs/environment.h"

namespace rillfs {

/// Copies the database as of its logged position; durable when it returns. Does nothing if it is there
/// already.
Result<void> park(Environment& environment, Database& database);

/// What lies in the tree under the database's name and its companions', which is not what the log says.
/// Before the mount is there. Durable when it returns.
Result<void> park_as_it_is(Environment& environment, Database& database);

/// A directory for what else of a database is to be kept, `why` a word for its name: a path in parked/ where
/// nothing is yet.
Result<std::string> free_parking_place(Environment& environment, DatabaseId id, const std::string& why);

/// How many branches of a database are parked.
std::uint64_t count_parked(FileSystem& files, const std::string& parked_directory, DatabaseId id);

}  // namespace rillfs
