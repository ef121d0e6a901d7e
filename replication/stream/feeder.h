// What to send to one subscriber next: all of the publisher that knows databases and no network.
//
// Databases with something to send wait in a ring. Each gets one turn: change sets up to about a quantum, or
// one batch of snapshot pages; one that has more goes to the end of the ring. So a large snapshot or backlog
// delays another database's commit by at most a turn. A merged change set stands for much more than is sent:
// it ends the turn and the fill(), and none is left in memory. Names come before content: what listen()
// reported is looked up in that order, and renames, drops and new databases are announced before any turn.
//
// A replica that has a copy of a database and speaks version 2 is sent a snapshot by difference
// (comparison.h): each question ends the turn, its answer makes the database ready again. Answers are large,
// so only a few questions are open at a time; the other databases wait for their turn to ask.
//
// A database's cursors are all that a subscriber which falls behind costs.
//
// Threads: one call at a time, on a worker: every call reads the source and may block.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "replication/stream/databases.h"
#include "replication/stream/replica_record.h"
#include "replication/wire/limits.h"

namespace rillfs::stream {

/// The subscriber asks for a snapshot.
struct ResyncRequest {
  DatabaseId id;
  bool whole = false;  ///< not by difference
};

class Feeder {
 public:
  /// One fill() is not much larger than two of these, in bytes, or than one and a merged change set.
  static constexpr std::size_t kQuantum = 256 * 1024;

  /// Answers that may be on their way at once.
  static constexpr std::size_t kQuestionCountMax = 4;

  /// `have`: the subscriber's complete databases; `version`: of the protocol that both speak. The source must
  /// already report changes to whoever passes them to fill(), or what happens meanwhile would be missed.
  Feeder(Source& source, ReplicaRecord& record, std::unordered_map<DatabaseId, Position> have,
         std::uint32_t version = wire::kProtocolVersionMin);
  ~Feeder();

  /// Appends the next frames to `out`. `changed` are databases that listen() reported since the last call,
  /// `resync` those for which the subscriber asks for a snapshot. Returns whether there is more to send now.
  bool fill(std::span<const DatabaseId> changed, std::span<const ResyncRequest> resync, Buffer& out);

  /// The subscriber's answer to a question; one to a question that is not open is passed over. kInvalid when
  /// it does not fit its question: the session is over. fill() goes on.
  Result<void> answered(const wire::Sums& sums, Bytes payload);

  /// Databases whose reading failed get another try. Call it now and then.
  void retry_failed();

 private:
  struct Database;

  void fill_catalog(Buffer& out);
  void begin_catalog(Buffer& out);
  void look_up(DatabaseId id, Buffer& out);
  void announce(Database& database, const DatabaseState& state, Buffer& out);
  void drop(DatabaseId id, bool unknown, Buffer& out);
  void make_ready(Database& database);

  /// One turn. True: has more to send.
  Result<bool> turn(Database& database, Buffer& out);
  /// From where the subscriber stands.
  Result<void> follow(Database& database);
  Result<void> choose_start(Database& database, Buffer& out);
  Result<void> begin_snapshot(Database& database, Buffer& out);
  Result<void> begin_difference(Database& database, Buffer& out);
  Result<void> announce_snapshot(Database& database, const wire::SnapshotBegin& begin, Buffer& out);
  Result<void> end_snapshot(Database& database, const Position& start, const Position& end, Buffer& out);
  Result<bool> send_differences(Database& database, Buffer& out);
  void ask(Database& database, Buffer& out);
  void close_question(std::uint64_t request);
  void wake_waiting();
  static void forget_cursors(Database& database);
  static void forget_sent(Database& database);
  Result<void> send_pages(Database& database, Buffer& out);
  Result<bool> send_change_sets(Database& database, Buffer& out);
  /// All of the image that has just been announced.
  Result<bool> send_merged(Database& database, Buffer& out);
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
  bool long_turn_ = false;  // the last one read much more than it sent
  Buffer scratch_;          // one payload
  const std::uint32_t version_;
  std::uint64_t last_request_ = 0;
  std::unordered_set<std::uint64_t> questions_;  // open
  std::deque<DatabaseId> waiting_;               // to ask, until a question is closed
};

}  // namespace rillfs::stream
