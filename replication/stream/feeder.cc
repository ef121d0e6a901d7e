#include "replication/stream/feeder.h"

#include <spdlog/spdlog.h>

#include "replication/stream/comparison.h"
#include "replication/stream/convert.h"
#include "replication/stream/page_batch.h"
#include "replication/wire/frame.h"

namespace rillfs::stream {

struct Feeder::Database {
  DatabaseInfo info;
  /// Where the subscriber stands once it has what was sent in full; nothing: it needs a snapshot.
  std::optional<Position> start;
  std::unique_ptr<ChangeSetCursor> change_sets;
  std::unique_ptr<SnapshotCursor> snapshot;
  std::unique_ptr<Comparison> comparison;
  /// Sent, and exact once the subscriber is at `exact_at`: until then it keeps the log that leads there.
  std::unique_ptr<SnapshotCursor> sent_snapshot;
  std::unique_ptr<Comparison> sent_comparison;
  Position exact_at;
  History history = History::kUnknown;  // of where the subscriber stands
  bool has_copy = false;                // the subscriber has some content of it
  bool whole = false;                   // and it is of no use for its next snapshot
  std::uint64_t question = 0;           // open; 0: none
  bool waits_to_ask = false;            // in waiting_
  std::uint64_t image_left = 0;         // bytes of the current image not sent
  Position image_post;                  // where it leads
  bool is_ready = false;
  bool is_failed = false;
};

Feeder::Feeder(Source& source, ReplicaRecord& record, std::unordered_map<DatabaseId, Position> have,
               std::uint32_t version)
    : source_(source),
      record_(record),
      have_(std::move(have)),
      scratch_(wire::kPayloadSizeMax),
      version_(version) {}

Feeder::~Feeder() = default;

bool Feeder::fill(std::span<const DatabaseId> changed, std::span<const ResyncRequest> resync, Buffer& out) {
  changed_.insert(changed_.end(), changed.begin(), changed.end());
  if (!catalog_done_) {
    fill_catalog(out);
    return true;
  }
  for (DatabaseId id : std::exchange(changed_, {})) look_up(id, out);
  for (const ResyncRequest& request : resync) {
    auto at = databases_.find(request.id);
    if (at == databases_.end()) continue;
    Database& database = *at->second;
    if (database.start && database.history == History::kUnknown) (void)follow(database);  // only to know that
    database.start.reset();
    database.whole = database.whole || request.whole;
    forget_cursors(database);
    make_ready(database);
  }
  long_turn_ = false;
  while (!ready_.empty() && out.size() < kQuantum && !long_turn_) {
    DatabaseId id = ready_.front();
    ready_.pop_front();
    Database& database = *databases_.at(id);
    database.is_ready = false;
    auto more = turn(database, out);
    if (more && *more) make_ready(database);
    if (more) continue;
    // Nothing for this subscriber only: the other databases go on, and this one is tried again.
    const bool ordinary = more.error().code == ErrorCode::kBusy;
    spdlog::log(ordinary ? spdlog::level::debug : spdlog::level::err, "cannot send {}: {}; trying again",
                database.info.path, more.error().message);
    // A page that cannot be read at present can be later: a large snapshot would else never come to its end.
    if (!ordinary) forget_cursors(database);
    if (!std::exchange(database.is_failed, true)) failed_.push_back(id);
  }
  return !ready_.empty();
}

void Feeder::retry_failed() {
  for (DatabaseId id : std::exchange(failed_, {})) {
    auto at = databases_.find(id);
    if (at == databases_.end()) continue;
    at->second->is_failed = false;
    make_ready(*at->second);
  }
  wake_waiting();
}

void Feeder::forget_cursors(Database& database) {
  database.change_sets.reset();
  database.snapshot.reset();
  database.comparison.reset();  // an answer to its question still comes
  forget_sent(database);
  database.image_left = 0;
}

void Feeder::forget_sent(Database& database) {
  database.sent_snapshot.reset();
  database.sent_comparison.reset();
}

void Feeder::begin_catalog(Buffer& out) {
  catalog_begun_ = true;
  catalog_ = source_.list();
  auto gone = have_;
  for (const DatabaseState& state : catalog_) gone.erase(state.info.id);
  for (DatabaseId id : source_.withheld()) gone.erase(id);
  // Drops first: they free names.
  for (const auto& [id, position] : gone) drop(id, !source_.was_dropped(id), out);
}

void Feeder::fill_catalog(Buffer& out) {
  if (!catalog_begun_) begin_catalog(out);
  while (!catalog_.empty() && out.size() < kQuantum) {
    DatabaseState state = std::move(catalog_.back());
    catalog_.pop_back();
    auto database = std::make_unique<Database>();
    if (auto at = have_.find(state.info.id); at != have_.end()) {
      database->start = at->second;
      database->has_copy = true;
    }
    announce(*database, state, out);
    if (database->start) record_.starts_at(state.info.id, *database->start);
    make_ready(*databases_.emplace(state.info.id, std::move(database)).first->second);
  }
  if (!catalog_.empty()) return;
  catalog_done_ = true;
  have_.clear();
  wire::Message message;
  message.mutable_catalog_end();
  wire::append_frame(message, out);
}

void Feeder::look_up(DatabaseId id, Buffer& out) {
  auto state = source_.find(id);
  auto at = databases_.find(id);
  if (!state) {
    if (at == databases_.end()) return;
    close_question(at->second->question);
    databases_.erase(at);
    std::erase(ready_, id);
    drop(id, false, out);
    return;
  }
  if (at == databases_.end()) at = databases_.emplace(id, std::make_unique<Database>()).first;
  Database& database = *at->second;
  if (database.info != state->info) {
    announce(database, *state, out);
  } else {
    record_.announced(*state);
  }
  make_ready(database);
}

void Feeder::announce(Database& database, const DatabaseState& state, Buffer& out) {
  database.info = state.info;
  record_.announced(state);
  wire::append_frame(announce_message(state), out);
}

void Feeder::drop(DatabaseId id, bool unknown, Buffer& out) {
  record_.dropped(id);
  wire::Message message;
  message.mutable_drop()->set_id(id.value);
  message.mutable_drop()->set_unknown(unknown);
  wire::append_frame(message, out);
}

void Feeder::make_ready(Database& database) {
  if (database.is_ready) return;
  database.is_ready = true;
  record_.noticed(database.info.id);
  ready_.push_back(database.info.id);
}

Result<bool> Feeder::turn(Database& database, Buffer& out) {
  if (!database.change_sets) RILL_TRY(choose_start(database, out));
  if (!database.change_sets) return false;  // gone; a change will say so
  if (database.snapshot) {
    RILL_TRY(send_pages(database, out));
    return true;
  }
  if (database.comparison) return send_differences(database, out);
  auto more = send_change_sets(database, out);
  if (more || more.error().code != ErrorCode::kNotInLog) return more;
  spdlog::info("{}: the log does not lead the subscriber on: it gets what differs ({})", database.info.path,
               more.error().message);
  database.start.reset();
  forget_cursors(database);
  return true;
}

Result<void> Feeder::follow(Database& database) {
  auto cursor = source_.follow(database.info.id, *database.start);
  if (cursor) {
    database.history = History::kShared;
    database.change_sets = std::move(*cursor);
    return {};
  }
  if (cursor.error().code == ErrorCode::kPositionMismatch) database.history = History::kAnother;
  return std::move(cursor).error();
}

Result<void> Feeder::choose_start(Database& database, Buffer& out) {
  if (database.start) {
    auto followed = follow(database);
    if (followed || followed.error().code == ErrorCode::kNotFound) return {};
    const ErrorCode code = followed.error().code;
    if (code != ErrorCode::kNotInLog && code != ErrorCode::kPositionMismatch) return followed;
    spdlog::info("{}: the log does not contain {} of the subscriber: sending a snapshot", database.info.path,
                 to_text(*database.start));
    database.start.reset();
  }
  const bool by_difference = version_ >= wire::kVersionWithDifference && database.has_copy && !database.whole;
  auto begun = by_difference ? begin_difference(database, out) : begin_snapshot(database, out);
  if (!begun && begun.error().code == ErrorCode::kNotFound) return {};
  return begun;
}

Result<void> Feeder::begin_snapshot(Database& database, Buffer& out) {
  RILL_ASSIGN(database.snapshot, source_.snapshot(database.info.id));
  const SnapshotCursor& snapshot = *database.snapshot;
  wire::SnapshotBegin begin;
  to_wire(snapshot.start(), begin.mutable_start());
  begin.set_page_size(snapshot.page_size());
  begin.set_page_count(snapshot.page_count().value);
  begin.set_history(to_wire(database.history));
  return announce_snapshot(database, begin, out);
}

Result<void> Feeder::begin_difference(Database& database, Buffer& out) {
  RILL_ASSIGN(auto pages, source_.pages(database.info.id));
  if (pages->page_size() < wire::kPageSizeMin) return begin_snapshot(database, out);  // no content yet
  wire::SnapshotBegin begin;
  to_wire(pages->start(), begin.mutable_start());
  begin.set_page_size(pages->page_size());
  begin.set_page_count(pages->page_count().value);
  begin.set_difference(true);
  begin.set_history(to_wire(database.history));
  database.comparison = std::make_unique<Comparison>(std::move(pages));
  return announce_snapshot(database, begin, out);
}

Result<void> Feeder::announce_snapshot(Database& database, const wire::SnapshotBegin& begin, Buffer& out) {
  RILL_ASSIGN(const Position start, from_wire(begin.start()));
  // Followed from before the first page is read: the cursor keeps the log that completes the snapshot.
  auto cursor = source_.follow(database.info.id, start);
  if (!cursor) {
    forget_cursors(database);
    return std::move(cursor).error();
  }
  database.change_sets = std::move(*cursor);
  database.image_left = 0;
  wire::Message message;
  *message.mutable_snapshot_begin() = begin;
  message.mutable_snapshot_begin()->set_id(database.info.id.value);
  wire::append_frame(message, out);
  record_.snapshot_began(database.info.id, start, begin.page_count(), begin.page_size());
  return {};
}

Result<void> Feeder::end_snapshot(Database& database, const Position& start, const Position& end,
                                  Buffer& out) {
  wire::Message message;
  message.mutable_snapshot_end()->set_id(database.info.id.value);
  to_wire(end, message.mutable_snapshot_end()->mutable_end());
  wire::append_frame(message, out);
  database.start = start;
  database.sent_snapshot = std::move(database.snapshot);
  database.sent_comparison = std::move(database.comparison);
  database.exact_at = end;
  database.history = History::kShared;
  if (end.txid <= start.txid) forget_sent(database);
  database.has_copy = true;
  database.whole = false;
  record_.snapshot_ended(database.info.id);
  return {};
}

namespace {

/// As many as there are and fit. `pages`: a SnapshotCursor, or a Comparison.
template <class Pages>
Result<void> add_pages(PageBatch& batch, Pages& pages) {
  while (batch.has_room()) {
    auto page = pages.next();
    if (!page && batch.empty()) return std::move(page).error();
    if (!page || !*page) break;  // what is here goes first
    RILL_TRY(batch.add((*page)->pgno, (*page)->data));
  }
  return {};
}

}  // namespace

Result<void> Feeder::send_pages(Database& database, Buffer& out) {
  PageBatch batch(database.snapshot->page_size());
  RILL_TRY(add_pages(batch, *database.snapshot));
  if (!batch.empty()) {
    batch.append_frame(database.info.id, out);
    record_.snapshot_pages(database.info.id, batch.page_count());
    return {};
  }
  return end_snapshot(database, database.snapshot->start(), database.snapshot->end(), out);
}

/// One batch of pages, one question, or the end. True unless an answer has to come first.
Result<bool> Feeder::send_differences(Database& database, Buffer& out) {
  Comparison& comparison = *database.comparison;
  if (comparison.waits_for_answer()) return false;
  PageBatch batch(comparison.page_size());
  RILL_TRY(add_pages(batch, comparison));
  if (!batch.empty()) {
    batch.append_frame(database.info.id, out);
    return true;
  }
  record_.snapshot_settled(database.info.id, comparison.settled());
  if (comparison.done()) {
    RILL_TRY(end_snapshot(database, comparison.pages().start(), comparison.pages().position(), out));
    return true;
  }
  ask(database, out);
  return false;
}

void Feeder::ask(Database& database, Buffer& out) {
  if (questions_.size() >= kQuestionCountMax) {
    if (!std::exchange(database.waits_to_ask, true)) waiting_.push_back(database.info.id);
    return;
  }
  database.question = ++last_request_;
  questions_.insert(database.question);
  wire::append_frame(database.comparison->ask(database.info.id, database.question), out);
}

void Feeder::close_question(std::uint64_t request) {
  if (questions_.erase(request) != 0) wake_waiting();
}

/// As many as may ask now. One that does not, for whatever reason, is made up for at the next retry_failed().
void Feeder::wake_waiting() {
  for (std::size_t room = kQuestionCountMax - questions_.size(); room > 0 && !waiting_.empty();) {
    auto at = databases_.find(waiting_.front());
    waiting_.pop_front();
    if (at == databases_.end()) continue;
    at->second->waits_to_ask = false;
    if (!at->second->comparison) continue;
    make_ready(*at->second);
    --room;
  }
}

Result<void> Feeder::answered(const wire::Sums& sums, Bytes payload) {
  close_question(sums.request());
  auto at = databases_.find(DatabaseId{sums.id()});
  if (at == databases_.end() || at->second->question != sums.request()) return {};
  Database& database = *at->second;
  database.question = 0;
  if (!database.comparison) return {};
  make_ready(database);
  if (!payload.empty()) return database.comparison->answered(sums.request(), payload);
  spdlog::info("{}: the replica has nothing that could be compared: sending a whole snapshot",
               database.info.path);
  database.whole = true;
  forget_cursors(database);
  return {};
}

Result<bool> Feeder::send_change_sets(Database& database, Buffer& out) {
  std::size_t begun_at = out.size();
  while (out.size() - begun_at < kQuantum) {
    if (database.image_left == 0) {
      RILL_ASSIGN(auto info, database.change_sets->next());
      if (!info) return false;
      wire::append_frame(change_set_message(database.info.id, *info), out);
      database.image_left = info->image_size;
      database.image_post = info->post;
      record_.sent(database.info.id, *info);
      if (info->is_merged()) return send_merged(database, out);
    }
    RILL_TRY(send_image(database, out));
  }
  return true;
}

Result<bool> Feeder::send_merged(Database& database, Buffer& out) {
  long_turn_ = true;
  while (database.image_left != 0) RILL_TRY(send_image(database, out));
  return true;
}

Result<void> Feeder::send_image(Database& database, Buffer& out) {
  std::size_t room = std::min<std::uint64_t>(scratch_.size(), database.image_left);
  RILL_ASSIGN(std::size_t size, database.change_sets->read(MutableBytes(scratch_).first(room)));
  if (size == 0 || size > room)
    return make_error(ErrorCode::kCorrupt, "a change set in the log is shorter than it says");
  wire::Message message;
  message.mutable_chunk()->set_id(database.info.id.value);
  message.mutable_chunk()->set_size(static_cast<std::uint32_t>(size));
  wire::append_frame(message, out);
  append_bytes(out, Bytes(scratch_).first(size));
  database.image_left -= size;
  if (database.image_left != 0) return {};
  database.start = database.image_post;
  if (database.image_post.txid >= database.exact_at.txid) forget_sent(database);
  return {};
}

}  // namespace rillfs::stream
