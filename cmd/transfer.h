// `rillfs import` and `rillfs export`: a database into and out of a running node.
//
// Both are ordinary SQLite clients of the mount. An import is one transaction there, so that replicas see all
// of it or nothing; an export reads one snapshot.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "replication/base/error.h"

namespace rillfs::cmd {

/// Pages copied so far, and in all.
using TransferProgress = std::function<void(std::uint64_t pages_done, std::uint64_t pages_total)>;

/// `name` as a path below the mount. kInvalid if it is empty, absolute or leaves the mount.
Result<std::string> path_in_mount(const std::string& mountpoint, const std::string& name);

/// Copies the database `file` over `<mountpoint>/<name>`, which need not exist. `file` is opened read-only
/// and has to pass integrity_check and foreign_key_check. Page size, auto_vacuum, user_version and the like
/// come along with the pages; the journal mode is set to the source's afterwards.
Result<void> import_database(const std::string& file, const std::string& mountpoint, const std::string& name,
                             const TransferProgress& progress);
/// Copies `<mountpoint>/<name>` to `file`, which appears complete, checked and synced or not at all. An
/// existing file is replaced only with `force`.
Result<void> export_database(const std::string& mountpoint, const std::string& name, const std::string& file,
                             bool force, const TransferProgress& progress);

/// The commands; they ask the daemon on `data` where its mount is. Return the exit code.
int run_import(const std::string& data, const std::string& file, const std::string& name, bool quiet);
int run_export(const std::string& data, const std::string& name, const std::string& file, bool force,
               bool quiet);

}  // namespace rillfs::cmd
