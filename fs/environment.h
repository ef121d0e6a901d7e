// What every database of a node shares: the seams, the data directory, and who this node is.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "fs/sqlite/wal_index.h"
#include "replication/base/clock.h"
#include "replication/base/file_system.h"
#include "replication/base/random.h"
#include "replication/base/types.h"
#include "replication/log/log.h"

namespace rillfs {

class Database;

/// Constant after the assembly, but for the epoch. Outlives every Database.
struct Environment {
  FileSystem& files;
  Clock& clock;
  Random& random;
  std::string data_directory;
  NodeId node;
  /// Changes when the machine starts: what was not synced before may be gone (kernel.random.boot_id).
  std::string boot_id = {};
  bool primary = true;
  std::atomic<std::uint64_t> epoch{1};
  log::LogOptions log_options;
  /// A new replay base is recorded when at least this much log, in bytes, has gathered since the last one.
  std::uint64_t base_interval_bytes = std::uint64_t{64} << 20;
  /// A database was created, renamed, dropped, or has published a change set. Any thread; must not block.
  std::function<void(DatabaseId)> changed = [](DatabaseId) {};
  /// A name's first commit has made it a replicated database. Called with the database's mutex held.
  std::function<void(const std::shared_ptr<Database>&, DatabaseId)> registered = [](const auto&, DatabaseId) {
  };
  /// A replica's log has a new change set to apply. Any thread; must not block.
  std::function<void(DatabaseId)> received = [](DatabaseId) {};
  /// The database file now holds everything up to a position: upkeep may record a new replay base.
  std::function<void(DatabaseId)> backfilled = [](DatabaseId) {};

  /// A replica's database is damaged: the primary is to send it anew. Any thread of table 0; must not block.
  std::function<void(DatabaseId)> damaged = [](DatabaseId) {};

  /// What the database's wal-index has published, if it has. May wait for the mount's threads: never with a
  /// database's mutex held. Any thread of table 0. kBusy where too many wait already.
  using PublishedIndex = Result<std::optional<sqlite::WalIndexHeader>>;
  std::function<PublishedIndex(Database&)> published_index = [](Database&) { return PublishedIndex{}; };

  Epoch current_epoch() const { return Epoch{epoch.load()}; }
  std::string tree_directory() const { return data_directory + "/tree"; }
  std::string databases_directory() const { return data_directory + "/dbs"; }
  std::string database_directory(DatabaseId id) const {
    return databases_directory() + "/" + to_hex(id.value);
  }
  std::string spool_directory() const { return data_directory + "/spool"; }
  std::string parked_directory() const { return data_directory + "/parked"; }
};

}  // namespace rillfs
