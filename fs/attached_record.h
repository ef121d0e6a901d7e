// dbs/attached.json: a transaction over several databases (ATTACH, rollback journals), from before the first
// of their logs has it until every database shows it.
//
//   {"super_journal": "a.db-mj0123456789", "super_journal_hex": "...",
//    "databases": [{"id": "<database id>", "txid": n}, ...]}
//
// SQLite commits such a transaction by deleting its super-journal. A node that dies meanwhile finds the
// record at its next start: if the super-journal is still there, what the logs have after `txid` is taken
// back; if it is gone, all of it counts. So all databases have the transaction or none. One at a time, so
// there is one record.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

struct AttachedRecord {
  std::string super_journal;                           ///< relative to the tree
  std::vector<std::pair<DatabaseId, Txid>> databases;  ///< and where each stood before
};

/// Durable when it returns. `directory`: dbs/.
Result<void> save_attached_record(FileSystem& files, const std::string& directory,
                                  const AttachedRecord& record);
/// Nothing if there is none; kCorrupt when it cannot be understood.
Result<std::optional<AttachedRecord>> load_attached_record(FileSystem& files, const std::string& directory);
/// Durable when it returns.
Result<void> remove_attached_record(FileSystem& files, const std::string& directory);

}  // namespace rillfs
