#include "replication/stream/replica_record.h"

#include <algorithm>

namespace rillfs::stream {

ReplicaRecord::ReplicaRecord(NodeId node, std::string address, const Clock& clock)
    : node_(node), address_(std::move(address)), clock_(clock), since_ms_(clock.wall_ms()) {}

void ReplicaRecord::announced(const DatabaseState& state) {
  Lock lock(mutex_);
  databases_[state.info.id].newest = state;
}

void ReplicaRecord::starts_at(DatabaseId id, const Position& logged) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  database.sent = database.logged = database.applied = logged.txid;
}

void ReplicaRecord::dropped(DatabaseId id) {
  Lock lock(mutex_);
  databases_.erase(id);
}

void ReplicaRecord::sent(DatabaseId id, const ChangeSetInfo& info) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  if (!database.pending.done_offset()) database.pending.set_done_offset(info.log_begin());
  database.sent = info.post.txid;
  database.pending.add(info.post.txid, info.timestamp_ms, info.log_offset);
  if (database.sent >= database.newest.position.txid) database.behind_since_ms.reset();
}

void ReplicaRecord::snapshot_began(DatabaseId id, const Position& start, std::uint32_t page_count,
                                   std::uint32_t page_size) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  database.pending = {};
  database.sent = start.txid;
  database.logged = database.applied = Txid{};
  database.snapshot.begin(page_count, page_size, clock_.elapsed_ms());
}

void ReplicaRecord::snapshot_pages(DatabaseId id, std::uint32_t count) {
  Lock lock(mutex_);
  databases_[id].snapshot.pages(count);
}

void ReplicaRecord::snapshot_settled(DatabaseId id, Pgno next) {
  Lock lock(mutex_);
  databases_[id].snapshot.settled(next);
}

void ReplicaRecord::snapshot_ended(DatabaseId id) {
  Lock lock(mutex_);
  databases_[id].snapshot.end();
}

void ReplicaRecord::noticed(DatabaseId id) {
  Lock lock(mutex_);
  auto at = databases_.find(id);
  if (at != databases_.end() && !at->second.behind_since_ms) at->second.behind_since_ms = clock_.wall_ms();
}

void ReplicaRecord::acknowledged(DatabaseId id, Txid logged, Txid applied) {
  Lock lock(mutex_);
  auto at = databases_.find(id);
  if (at == databases_.end()) return;
  at->second.logged = logged;
  at->second.applied = applied;
  at->second.pending.done(applied);
}

void ReplicaRecord::add_backlog(wire::Heartbeat& heartbeat, std::size_t count_max) const {
  Lock lock(mutex_);
  for (const auto& [id, database] : databases_) {
    if (database.sent >= database.newest.position.txid) continue;
    if (static_cast<std::size_t>(heartbeat.backlog_size()) == count_max) return;
    auto* newest = heartbeat.add_backlog();
    newest->set_id(id.value);
    newest->set_txid(database.newest.position.txid.value);
    newest->set_log_offset(database.newest.log_offset);
  }
}

void ReplicaRecord::gone() {
  Lock lock(mutex_);
  gone_ = true;
  since_ms_ = clock_.wall_ms();
  gone_at_ms_ = clock_.elapsed_ms();
}

bool ReplicaRecord::is_gone() const {
  Lock lock(mutex_);
  return gone_;
}

std::int64_t ReplicaRecord::gone_ms() const {
  Lock lock(mutex_);
  return gone_ ? clock_.elapsed_ms() - gone_at_ms_ : 0;
}

ReplicaStatus ReplicaRecord::status(const std::vector<DatabaseState>& databases) const {
  Lock lock(mutex_);
  ReplicaStatus status{node_, address_, !gone_, since_ms_, {}};
  static const Database kNothingYet;
  for (const DatabaseState& now : databases) {
    auto at = databases_.find(now.info.id);
    status.databases.push_back(progress(at == databases_.end() ? kNothingYet : at->second, now));
  }
  return status;
}

DatabaseProgress ReplicaRecord::progress(const Database& database, const DatabaseState& now) const {
  DatabaseProgress progress;
  progress.id = now.info.id;
  progress.path = now.info.path;
  progress.newest = now.position.txid;
  progress.logged = database.logged;
  progress.applied = database.applied;
  std::int64_t now_ms = clock_.wall_ms();
  progress.snapshot = database.snapshot.progress(clock_.elapsed_ms());
  if (database.applied >= now.position.txid) return progress;
  progress.lag_transactions = now.position.txid.value - database.applied.value;
  std::uint64_t done = database.pending.done_offset().value_or(0);
  progress.lag_bytes = now.log_offset - std::min(now.log_offset, done);
  std::int64_t since_ms = since_ms_;
  if (database.behind_since_ms) since_ms = *database.behind_since_ms;
  if (auto oldest = database.pending.oldest_ms()) since_ms = *oldest;
  progress.lag_ms = std::max<std::int64_t>(1, bounded_difference(now_ms, since_ms));
  return progress;
}

}  // namespace rillfs::stream
