// What the subscriber does with what arrives: one queue per database, drained by workers.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "replication/stream/convert.h"
#include "replication/stream/subscriber_impl.h"

namespace rillfs::stream {

using wire::Task;

namespace {

/// What a queued frame costs beside its payload, in bytes; generous, so that many small ones count too.
constexpr std::size_t kFrameOverhead = 512;
/// One trip to a worker, in bytes; the budget is freed after each.
constexpr std::size_t kBatchSize = 512 * 1024;
/// Putting a complete snapshot in place takes a few syncs.
constexpr Duration kBusyDelay = std::chrono::milliseconds(5);
constexpr Duration kResyncDelayMin = std::chrono::milliseconds(100);
constexpr Duration kResyncDelayMax = std::chrono::seconds(30);

std::uint32_t page_count(const wire::SnapshotPages& pages) {
  std::uint64_t count = 0;
  for (const auto& run : pages.runs()) count += run.count();
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(count, wire::kPayloadSizeMax));
}

}  // namespace

std::size_t Subscriber::Impl::cost(const wire::Frame& frame) { return frame.payload.size() + kFrameOverhead; }

Result<void> Subscriber::Impl::dispatch(const SessionPtr& session, wire::Frame frame) {
  using wire::Message;
  const Message& message = frame.message;
  if (message.has_heartbeat()) return heard(session, message.heartbeat());
  if (message.has_catalog_end()) {
    progress_.catalog_ended();
    catalog_ended_ = true;
    for (const auto& [id, wish] : resync_wanted_) ask_for_snapshot(session, id, false);
    check_caught_up();
    return {};
  }
  if (message.has_refusal()) return wire::to_error(message.refusal());
  if (database_of(message)) return enqueue(session, std::move(frame));
  return make_error(ErrorCode::kInvalid, session->peer() + ": sent a message that is not expected here");
}

Result<void> Subscriber::Impl::heard(const SessionPtr& session, const wire::Heartbeat& heartbeat) {
  if (Epoch{heartbeat.epoch()} != primary_epoch_)
    return make_error(ErrorCode::kFenced, session->peer() + " has changed its epoch; greeting it again");
  heartbeat_seen_ = heartbeat.sequence();
  progress_.heard(heartbeat);
  for (auto& [id, inbox] : inboxes_) {
    if (!inbox->failed) continue;
    wire::Frame again = std::move(*inbox->failed);
    inbox->failed.reset();
    push(session, inbox, std::move(again));
  }
  return {};
}

Result<void> Subscriber::Impl::enqueue(const SessionPtr& session, wire::Frame frame) {
  DatabaseId id = *database_of(frame.message);
  auto at = inboxes_.find(id);
  if (at == inboxes_.end()) {
    if (!frame.message.has_announce() && !frame.message.has_drop())
      return make_error(ErrorCode::kInvalid, session->peer() + ": sent data of database " + to_hex(id.value) +
                                                 ", which it has not announced");
    if (inboxes_.size() >= wire::kDatabaseCountMax)
      return make_error(ErrorCode::kInvalid, session->peer() + ": announces too many databases");
    at = inboxes_
             .emplace(id, std::make_shared<Inbox>(sink_, files_, id, complete_.contains(id),
                                                  options_.image_memory_max))
             .first;
  }
  InboxPtr inbox = at->second;
  if (frame.message.has_snapshot_begin()) doubt_history(*frame.message.mutable_snapshot_begin());
  RILL_TRY(note(*inbox, frame));
  push(session, inbox, std::move(frame));
  return {};
}

/// What the primary's log does not reach back to is its own if it was made in the epoch of what the primary
/// has. But that says nothing where the epoch has had two primaries: the present one, or one of those before.
void Subscriber::Impl::doubt_history(wire::SnapshotBegin& begin) const {
  const bool may_be_shared = Epoch{begin.start().epoch()} == primary_epoch_ && !epoch_contested_;
  if (from_wire(begin.history()) == History::kUnknown && !may_be_shared)
    begin.set_history(to_wire(History::kAnother));
}

void Subscriber::Impl::push(const SessionPtr& session, const InboxPtr& inbox, wire::Frame frame) {
  unprocessed_ += cost(frame);
  unprocessed_peak_ = std::max(unprocessed_peak_.load(), unprocessed_.load());
  inbox->frames.push_back(std::move(frame));
  if (std::exchange(inbox->draining, true)) return;
  ++draining_;
  tasks_.spawn("stream of one database", drain(session, inbox));
}

/// What is known as soon as it has arrived.
Result<void> Subscriber::Impl::note(Inbox& inbox, const wire::Frame& frame) {
  const wire::Message& message = frame.message;
  if (message.has_announce()) {
    RILL_ASSIGN(DatabaseState state, from_wire(message.announce()));
    inbox.dropped = false;
    inbox.failed.reset();
    progress_.announced(state);
  }
  if (message.has_drop()) {
    inbox.dropped = true;
    inbox.failed.reset();
    complete_.erase(inbox.id);
    resync_wanted_.erase(inbox.id);
    progress_.dropped(inbox.id);
    check_caught_up();
  } else if (inbox.dropped) {
    return make_error(ErrorCode::kInvalid, "data of a dropped database");
  }
  if (message.has_change_set()) {
    RILL_ASSIGN(ChangeSetInfo info, from_wire(message.change_set()));
    progress_.received(inbox.id, info);
  }
  return {};
}

/// Hands the queued frames to a worker, as many as there are at a time, until none is left or the session
/// ends.
Task<void> Subscriber::Impl::drain(SessionPtr session, InboxPtr inbox) {
  while (!inbox->frames.empty() && !session->closed()) {
    // A deque does not move its elements when others are added behind them.
    std::vector<const wire::Frame*> batch;
    std::size_t size = 0;
    const bool is_question = inbox->frames.front().message.has_sums_wanted();
    for (const auto& frame : inbox->frames) {
      if (frame.message.has_sums_wanted() != is_question) break;
      batch.push_back(&frame);
      if (is_question || (size += cost(frame)) > kBatchSize) break;
    }
    while (is_question && answering_ && !session->closed()) co_await session->changed().wait();
    if (session->closed()) break;
    if (is_question) answering_ = true;
    inbox->wish = wish_for(inbox->id);
    Outcome outcome;
    std::size_t count = co_await wire::run_on(workers_, [&] {
      std::size_t i = 0;
      for (; i < batch.size(); ++i) {
        outcome = inbox->applier.process(*batch[i]);
        if (outcome.verdict != Verdict::kDone) break;
      }
      return i;
    });
    if (outcome.answer)
      co_await answer(session, inbox->frames.front().message.sums_wanted(), std::move(*outcome.answer));
    if (is_question) {
      answering_ = false;
      session->changed().notify();
    }
    for (; count > 0; --count) done(*inbox, inbox->frames.front());
    if (outcome.verdict != Verdict::kDone) {
      bool over = co_await settle(session, inbox, inbox->frames.front(), outcome);
      if (over) done(*inbox, inbox->frames.front());
    }
    // A wish that came later is not met by what the worker had then: the owner may have found it damaged.
    if (inbox->applier.is_exact() && inbox->snapshot_wish == wish_for(inbox->id))
      resync_wanted_.erase(inbox->id);
    session->changed().notify();
  }
  inbox->draining = false;
  --draining_;
  drained_.notify();
  if (inbox->dropped && inbox->frames.empty() && !inbox->failed && !session->closed()) {
    auto at = inboxes_.find(inbox->id);
    if (at != inboxes_.end() && at->second == inbox) inboxes_.erase(at);
  }
}

/// Deals with a frame that was not simply done; true when it is over with it.
Task<bool> Subscriber::Impl::settle(SessionPtr session, InboxPtr inbox, const wire::Frame& frame,
                                    const Outcome& outcome) {
  std::string what = "database " + to_hex(inbox->id.value) + ": " + outcome.error.message;
  switch (outcome.verdict) {
    case Verdict::kDone:
      break;
    case Verdict::kRetry:
      if (inbox->dropped && !frame.message.has_drop()) co_return true;  // in vain
      if (outcome.error.code == ErrorCode::kBusy) {
        co_await session->closing().wait_for(kBusyDelay);
        co_return false;
      }
      spdlog::error("{}; replication of it waits and goes on by itself", what);
      co_await session->closing().wait_for(options_.retry_delay);
      co_return false;
    case Verdict::kFailed:
      spdlog::error("{}; trying again", what);
      // Only the latest counts.
      if (frame.message.has_drop() == inbox->dropped) inbox->failed = frame;
      break;
    case Verdict::kResync:
      spdlog::warn("{}; asking for a snapshot", what);
      ask_for_snapshot(session, inbox->id, inbox->applier.needs_whole());
      break;
    case Verdict::kClosed:
      spdlog::error("{}", what);
      resync_wanted_.erase(inbox->id);  // in vain
      break;
    case Verdict::kProtocol:
      session->close(outcome.error.with(session->peer()));
      break;
  }
  co_return true;
}

void Subscriber::Impl::done(Inbox& inbox, const wire::Frame& frame) {
  const wire::Message& message = frame.message;
  if (message.has_snapshot_begin() && !inbox.dropped) {
    const auto& begin = message.snapshot_begin();
    inbox.snapshot_start = Txid{begin.start().txid()};
    inbox.by_difference = begin.difference();
    inbox.snapshot_wish = inbox.wish;
    progress_.snapshot_began(inbox.id, begin.page_count(), begin.page_size());
  }
  if (message.has_snapshot_pages() && !inbox.dropped && !inbox.by_difference)
    progress_.snapshot_pages(inbox.id, page_count(message.snapshot_pages()));
  // A question about ranges begins a window: what is before it is settled.
  // (Also one that was refused passes here.)
  if (message.sums_wanted().range() > 1 && message.sums_wanted().runs_size() > 0 && !inbox.dropped)
    progress_.snapshot_settled(inbox.id, Pgno{message.sums_wanted().runs(0).first()});
  if (message.has_snapshot_end() && !inbox.dropped) {
    // Checked by the applier already.
    if (auto end = from_wire(message.snapshot_end().end())) {
      bool exact = end->txid <= inbox.snapshot_start;
      progress_.snapshot_ended(inbox.id, *end, exact);
      if (exact) acks_[inbox.id] = {inbox.id, *end, *end};
      check_caught_up();
    }
  }
  unprocessed_ -= cost(frame);
  inbox.frames.pop_front();
}

std::uint64_t Subscriber::Impl::wish_for(DatabaseId id) const {
  auto at = resync_wanted_.find(id);
  return at == resync_wanted_.end() ? 0 : at->second;
}

Task<void> Subscriber::Impl::answer(SessionPtr session, wire::SumsWanted wanted, Buffer sums) {
  wire::Message message;
  message.mutable_sums()->set_id(wanted.id());
  message.mutable_sums()->set_request(wanted.request());
  message.mutable_sums()->set_size(static_cast<std::uint32_t>(sums.size()));
  Buffer out;
  wire::append_frame(message, out);
  append_bytes(out, sums);
  auto sent = co_await session->write(out);
  (void)sent;  // a failure has closed the session, which says so
}

void Subscriber::Impl::ask_for_snapshot(const SessionPtr& session, DatabaseId id, bool whole) {
  Duration& delay = resync_delay_[id];
  tasks_.spawn("resync", ask_again(session, id, delay, whole));
  delay = std::clamp(delay * 2, kResyncDelayMin, kResyncDelayMax);
}

Task<void> Subscriber::Impl::ask_again(SessionPtr session, DatabaseId id, Duration delay, bool whole) {
  if (delay > Duration::zero()) co_await session->closing().wait_for(delay);
  if (session->closed()) co_return;
  wire::Message message;
  message.mutable_resync()->set_id(id.value);
  message.mutable_resync()->set_whole(whole);
  auto sent = co_await session->send(message);
  (void)sent;  // a failure has closed the session, which says so
}

void Subscriber::Impl::progressed(const Sink::Progress& progress) {
  {
    Lock lock(mutex_);
    bool posted = !progress_reports_.empty();
    progress_reports_.insert_or_assign(progress.id, progress);
    if (posted) return;
  }
  boost::asio::post(network_, [this] { take_progress(); });
}

void Subscriber::Impl::take_progress() {
  std::unordered_map<DatabaseId, Sink::Progress> reports;
  {
    Lock lock(mutex_);
    reports.swap(progress_reports_);
  }
  for (const auto& [id, progress] : reports) {
    progress_.progressed(progress);
    acks_.insert_or_assign(id, progress);
  }
  if (session_) session_->changed().notify();
  check_caught_up();
}

void Subscriber::Impl::check_caught_up() {
  if (!is_caught_up_ && progress_.caught_up()) is_caught_up_ = true;
  if (!is_caught_up_ || stopped_) return;
  for (auto& done : std::exchange(waiting_for_catch_up_, {})) done();
}

}  // namespace rillfs::stream
