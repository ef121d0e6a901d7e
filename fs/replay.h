// Writes the log's page images over a database file: how a crash is repaired, and how a position is exported.
//
// Page images are idempotent: it does not matter how much of them the file already holds.
#pragma once

#include <string>

#include "fs/content.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

struct Replayed {
  std::uint64_t records = 0;
  std::uint64_t pages = 0;
};

/// Applies every record after `after` up to the end of the log in `log_directory` to `target`, and those
/// after `content`'s position to `content` as well, which must then sum up to what each record says (kCorrupt
/// if not). Sets the file's size. Nothing is synced.
Result<Replayed> replay(FileSystem& files, const std::string& log_directory, DatabaseId id,
                        const Position& after, Txid end, File& target, Content& content);

}  // namespace rillfs
