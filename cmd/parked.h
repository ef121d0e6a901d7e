// `rillfs parked`: what lies under parked/ in the data directory (docs/guarantees.md).
//
// It works on the files: a daemon may run or not. What a branch is, its name says:
//
//   <database id>-<epoch>-<txid>      a branch that lost: database, a complete SQLite file
//   <database id>-damaged[-N]         a replica's damaged database: its directory of dbs/ with its files
//   <database id>-without-file[-N]    the log of a database whose file had vanished
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "replication/base/error.h"
#include "replication/base/file_system.h"

namespace rillfs::cmd {

enum class ParkedKind : std::uint8_t { kBranch, kDamaged, kWithoutFile, kNotTakenOver, kOther };

struct Parked {
  std::string name;      ///< of the directory in parked/
  std::string database;  ///< what it was called; empty: not known
  ParkedKind kind = ParkedKind::kOther;
  std::uint64_t size = 0;  ///< bytes on disk, of everything in it
  bool has_database = false;
};

/// Sorted by name. Without what is being made or removed.
Result<std::vector<Parked>> list_parked(FileSystem& files, const std::string& data);
/// A SQLite file, with its WAL where one lies beside it, or, of what has none, a directory with its change
/// sets. `target` must not exist.
Result<void> export_parked(FileSystem& files, const std::string& data, const std::string& name,
                           const std::string& target);
/// Gone for good. Killed in between, the next start of the daemon removes the rest.
Result<void> drop_parked(FileSystem& files, const std::string& data, const std::string& name);

int run_parked_list(const std::string& data, bool json);
int run_parked_export(const std::string& data, const std::string& name, const std::string& target);
int run_parked_drop(const std::string& data, const std::string& name, bool yes);

}  // namespace rillfs::cmd
