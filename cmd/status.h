// What a node says about itself: plain values, and their JSON.
//
// The daemon fills in a NodeStatus and answers the control command "status" with its JSON; `rillfs status`
// reads it back. The keys below are an interface that people's scripts depend on: add, never rename.
//
// Names are bytes. In JSON `name` is the name where it is UTF-8; otherwise every byte that is not is replaced
// by U+FFFD there, and `name_hex` has the exact bytes. A null means "not known" or "does not apply".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::cmd {

enum class Role { kPrimary, kReplica };

/// A snapshot or resynchronisation on its way.
struct SnapshotProgress {
  std::uint64_t bytes_done = 0;
  std::uint64_t bytes_total = 0;  ///< 0: not known yet
  std::uint64_t bytes_per_second = 0;
  friend bool operator==(const SnapshotProgress&, const SnapshotProgress&) = default;
};
/// Milliseconds until the snapshot is complete at its present rate; nothing while that is unknown.
std::optional<std::uint64_t> remaining_ms(const SnapshotProgress& progress);

/// The last time that all pages of a database were compared with their checksums, and what came of it.
struct CheckStatus {
  std::int64_t at_ms = 0;  ///< wall clock, at its end
  std::uint64_t pages = 0;
  std::uint64_t unknown = 0;  ///< pages that could not be compared
  std::uint64_t damaged = 0;
  friend bool operator==(const CheckStatus&, const CheckStatus&) = default;
};

struct DatabaseStatus {
  std::string name;  ///< relative to the mount
  Txid txid;
  Checksum checksum = Checksum::empty();
  std::uint64_t size = 0;                ///< bytes of the database
  std::uint64_t log_bytes = 0;           ///< bytes of its log on disk
  std::string journal_mode;              ///< "wal", "delete", ...; empty: not known
  std::string capture;                   ///< "tail" or "hold" while a WAL is open on a primary; else empty
  std::optional<std::uint64_t> lag_ms;   ///< behind the primary; 0 on a primary
  std::optional<std::uint64_t> lag_txs;  ///< as above, in transactions
  std::uint64_t parked = 0;              ///< branches that lost and were put aside
  std::string problem;                   ///< why it takes no writes or is not replicated; empty: nothing
  std::optional<SnapshotProgress> snapshot;
  std::uint64_t damaged = 0;         ///< pages found since the start of the node
  std::optional<CheckStatus> check;  ///< nothing: not yet
  friend bool operator==(const DatabaseStatus&, const DatabaseStatus&) = default;
};

/// Where a replica stands in one database.
struct ReplicaPosition {
  std::string name;
  Txid txid;
  Checksum checksum;  ///< 0: not known (replicas acknowledge transactions by number)
  friend bool operator==(const ReplicaPosition&, const ReplicaPosition&) = default;
};

/// A replica as its primary sees it.
struct ReplicaStatus {
  NodeId node;
  std::string address;
  bool connected = false;
  std::int64_t since_ms = 0;  ///< wall clock: connected or gone since
  std::optional<std::uint64_t> lag_ms, lag_txs, lag_bytes;
  std::vector<ReplicaPosition> positions;
  std::optional<SnapshotProgress> snapshot;
  friend bool operator==(const ReplicaStatus&, const ReplicaStatus&) = default;
};

struct NodeStatus {
  NodeId node;
  Role role = Role::kPrimary;
  Epoch epoch;
  ClusterId cluster;
  std::string version;
  std::int64_t now_ms = 0;            ///< wall clock of the node when it answered
  std::int64_t role_since_ms = 0;     ///< wall clock: in this role since
  std::string primary;                ///< address of the primary; empty: not known
  std::int64_t primary_since_ms = 0;  ///< wall clock: that node is primary since; 0: not known
  bool connected = true;              ///< a replica: to its primary
  std::string advertise;
  std::string data;  ///< data directory
  std::string mountpoint;
  std::string capture;      ///< of WALs that are opened from now on, on a primary: "tail" or "hold"
  std::string capture_why;  ///< why it is not tail; empty: it is
  /// Requests that the kernel has sent to the mount since its start, by kind.
  std::vector<std::pair<std::string, std::uint64_t>> requests;
  /// How its workers waited for them since the start: mount::Session::Polls.
  std::vector<std::pair<std::string, std::uint64_t>> polls;
  std::vector<DatabaseStatus> databases;
  std::vector<ReplicaStatus> replicas;
  std::vector<std::string> parked;  ///< what `rillfs parked list` has, by name
  friend bool operator==(const NodeStatus&, const NodeStatus&) = default;
};

nlohmann::json to_json(const NodeStatus& status);
/// kInvalid for anything that to_json does not make; unknown keys are ignored, so that an older command can
/// read a newer daemon.
Result<NodeStatus> status_from_json(const nlohmann::json& json);

}  // namespace rillfs::cmd
