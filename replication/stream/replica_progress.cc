#include "replication/stream/replica_progress.h"

#include <algorithm>

namespace rillfs::stream {

void ReplicaProgress::connected(const std::vector<DatabaseState>& databases) {
  Lock lock(mutex_);
  connected_ = true;
  last_heard_ms_ = clock_.elapsed_ms();
  for (const DatabaseState& state : databases) {
    Database& database = databases_[state.info.id];
    database.path = state.info.path;
    database.logged = state.position.txid;
    if (!ever_connected_) database.applied = state.position.txid;
    // What was received and not logged comes again.
    database.pending = {};
    database.at_connect = state.position;
    database.complete = true;
  }
  ever_connected_ = true;
}

void ReplicaProgress::disconnected() {
  Lock lock(mutex_);
  connected_ = false;
}

void ReplicaProgress::raise_newest(Database& database, Txid txid, std::uint64_t offset) {
  if (txid > database.newest && database.applied >= database.newest)
    database.behind_since_ms = primary_now_ms();
  database.newest = std::max(database.newest, txid);
  database.newest_offset = std::max(database.newest_offset, offset);
}

void ReplicaProgress::announced(const DatabaseState& state) {
  Lock lock(mutex_);
  Database& database = databases_[state.info.id];
  database.path = state.info.path;
  const auto& here = database.at_connect;
  bool diverged = here && (here->txid > state.position.txid ||
                           (here->txid == state.position.txid && !here->same_place(state.position)));
  database.at_connect.reset();
  if (diverged) {
    // Another history, which a snapshot will replace.
    database.complete = false;
    database.newest = database.logged = database.applied = Txid{};
    database.pending = {};
  }
  raise_newest(database, state.position.txid, 0);
  if (!has_goal_) database.goal = state.position.txid;
}

void ReplicaProgress::dropped(DatabaseId id) {
  Lock lock(mutex_);
  databases_.erase(id);
}

void ReplicaProgress::received(DatabaseId id, const ChangeSetInfo& info) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  raise_newest(database, info.post.txid, info.log_offset);
  if (!database.pending.done_offset()) database.pending.set_done_offset(info.log_begin());
  database.pending.add(info.post.txid, info.timestamp_ms, info.log_offset);
}

void ReplicaProgress::snapshot_began(DatabaseId id, std::uint32_t page_count, std::uint32_t page_size) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  database.logged = database.applied = Txid{};
  database.pending = {};
  database.complete = false;
  database.snapshot.begin(page_count, page_size, clock_.elapsed_ms());
}

void ReplicaProgress::snapshot_pages(DatabaseId id, std::uint32_t count) {
  Lock lock(mutex_);
  databases_[id].snapshot.pages(count);
}

void ReplicaProgress::snapshot_settled(DatabaseId id, Pgno next) {
  Lock lock(mutex_);
  databases_[id].snapshot.settled(next);
}

void ReplicaProgress::snapshot_ended(DatabaseId id, const Position& end, bool exact) {
  Lock lock(mutex_);
  Database& database = databases_[id];
  database.snapshot.end();
  database.complete = true;
  raise_newest(database, end.txid, 0);
  if (database.goal) database.goal = std::max(*database.goal, end.txid);
  if (exact) database.logged = database.applied = std::max(database.applied, end.txid);
}

void ReplicaProgress::progressed(const Sink::Progress& progress) {
  Lock lock(mutex_);
  auto at = databases_.find(progress.id);
  if (at == databases_.end()) return;
  at->second.logged = progress.logged.txid;
  at->second.applied = progress.applied.txid;
  at->second.pending.done(progress.applied.txid);
}

void ReplicaProgress::heard(const wire::Heartbeat& heartbeat) {
  Lock lock(mutex_);
  last_heard_ms_ = clock_.elapsed_ms();
  clock_offset_ms_ = bounded_difference(heartbeat.wall_ms(), clock_.wall_ms());
  for (const auto& newest : heartbeat.backlog()) {
    auto at = databases_.find(DatabaseId{newest.id()});
    if (at != databases_.end()) raise_newest(at->second, Txid{newest.txid()}, newest.log_offset());
  }
}

void ReplicaProgress::catalog_ended() {
  Lock lock(mutex_);
  has_goal_ = true;
}

bool ReplicaProgress::caught_up() const {
  Lock lock(mutex_);
  return has_goal_ && std::all_of(databases_.begin(), databases_.end(), [](const auto& entry) {
           const Database& database = entry.second;
           return !database.goal || (database.complete && database.applied >= *database.goal);
         });
}

std::vector<DatabaseProgress> ReplicaProgress::databases() const {
  Lock lock(mutex_);
  std::vector<DatabaseProgress> all;
  all.reserve(databases_.size());
  for (const auto& [id, database] : databases_) all.push_back(progress(id, database));
  return all;
}

DatabaseProgress ReplicaProgress::progress(DatabaseId id, const Database& database) const {
  DatabaseProgress progress;
  progress.id = id;
  progress.path = database.path;
  progress.newest = std::max(database.newest, database.logged);
  progress.logged = database.logged;
  progress.applied = database.applied;
  progress.snapshot = database.snapshot.progress(clock_.elapsed_ms());
  progress.snapshot.active = progress.snapshot.active && connected_;
  // While nothing is heard, anything may have been committed since.
  if (!connected_) progress.lag_ms = std::max<std::int64_t>(1, clock_.elapsed_ms() - last_heard_ms_);
  if (database.complete && database.applied >= progress.newest) return progress;
  progress.lag_transactions = progress.newest.value - std::min(progress.newest, database.applied).value;
  if (auto done = database.pending.done_offset())
    progress.lag_bytes = database.newest_offset - std::min(database.newest_offset, *done);
  std::int64_t since_ms = database.pending.oldest_ms().value_or(database.behind_since_ms);
  progress.lag_ms =
      std::max({progress.lag_ms, std::int64_t{1}, bounded_difference(primary_now_ms(), since_ms)});
  return progress;
}

}  // namespace rillfs::stream
