// What to send to one subscriber next: all of the publisher that knows databases and no network.
//
// Databases with something to send wait in a ring. Each gets one turn: change sets up to about a quantum, or
// one batch of snapshot pages; one that has more goes to the end of the ring. So a large snapshot or backlog
// delays another database's commit by at most a turn. Names come before content: what listen() reported is
// looked up in that order, and renames, drops and new databases are announced before any turn.
//
// A database's cursors are all that a subscriber which falls behind costs.
//
// Threads: one call at a time, on a worker: every call reads the source and may block.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "replication/stream/databases.h"
#include "replication/stream/replica_record.h"

namespace rillfs::stream {

class Feeder {
 public:
  /// One fill() is not much larger than two of these, in bytes.
  static constexpr std::size_t kQuantum = 256 * 1024;

  /// `have`: the subscriber's complete databases. The source must already report changes to whoever passes
  /// them to fill(), or what happens meanwhile would be missed.
  Feeder(Source& source, ReplicaRecord& record, std::unordered_map<DatabaseId, Position> have);
  ~Feeder();

  /// Appends the next frames to `out`. `changed` are databases that listen() reported since the last call,
  /// `resync` those for which the subscriber asks for a snapshot. Returns whether there is more to send now.
  bool fill(std::span<const DatabaseId> changed, std::span<const DatabaseId> resync, Buffer& out);

  /// Databases whose reading failed get another try. Call it now and then.
  void retry_failed();

 private:
  struct Database;

  void fill_catalog(Buffer& out);
  void begin_catalog(Buffer& out);
  void look_up(DatabaseId id, Buffer& out);
  void announce(Database& database, const DatabaseState& state, Buffer& out);
  void drop(DatabaseId id, Buffer& out);
  void make_ready(Database& database);

  /// One turn. True: has more to send.
  Result<bool> turn(Database& database, Buffer& out);
  Result<void> choose_start(Database& database, Buffer& out);
  Result<void> begin_snapshot(Database& database, Buffer& out);
  Result<void> send_pages(Database& database, Buffer& out);
  Result<bool> send_change_sets(Database& database, Buffer& out);
  Result<void> send_image(Database& database, Buffer& out);

  Source& source_;
  ReplicaRecord& record_;
  std::unordered_map<DatabaseId, Position> have_;  // not announced yet
  std::vector<DatabaseState> catalog_;             // still to be announced, last first
  bool catalog_begun_ = false;
  bool catalog_done_ = false;
  std::vector<DatabaseId> changed_;  // until the catalog is done
  std::unordered_map<DatabaseId, std::unique_ptr<Database>> databases_;
  std::deque<DatabaseId> ready_;
  std::vector<DatabaseId> failed_;
  Buffer scratch_;  // one payload
};

}  // namespace rillfs::stream
