#include "replication/stream/applier.h"

#include <spdlog/spdlog.h>

#include <bit>
#include <utility>

#include "replication/stream/convert.h"
#include "replication/stream/page_batch.h"
#include "replication/stream/page_sums_answer.h"

namespace rillfs::stream {

namespace {

Outcome protocol(std::string what) {
  return {Verdict::kProtocol, make_error(ErrorCode::kInvalid, std::move(what)), {}};
}

bool works_later(const Error& error) {
  return error.code == ErrorCode::kNoSpace || error.code == ErrorCode::kBusy;
}

}  // namespace

Applier::Applier(Sink& sink, FileSystem& files, DatabaseId id, bool complete, std::size_t image_memory_max)
    : sink_(sink),
      files_(files),
      id_(id),
      image_memory_max_(image_memory_max),
      state_(complete ? State::kFollowing : State::kWaiting) {}

Applier::~Applier() { abandon_image(); }

Outcome Applier::process(const wire::Frame& frame) {
  using wire::Message;
  switch (frame.message.body_case()) {
    case Message::kAnnounce:
      return announce(frame.message.announce());
    case Message::kDrop:
      return drop(frame.message.drop());
    case Message::kSnapshotBegin:
      return begin_snapshot(frame.message.snapshot_begin());
    case Message::kSumsWanted:
      return answer(frame.message.sums_wanted());
    case Message::kSnapshotPages:
      return pages(frame.message.snapshot_pages(), frame.payload);
    case Message::kSnapshotEnd:
      return end_snapshot(frame.message.snapshot_end());
    case Message::kChangeSet:
      return begin_change_set(frame.message.change_set());
    case Message::kChunk:
      return chunk(frame.payload);
    default:
      return protocol("a message about no database");
  }
}

Outcome Applier::judge(Error error) {
  if (works_later(error)) return {Verdict::kRetry, std::move(error), {}};
  abandon_image();
  state_ = State::kWaiting;
  const bool closed = error.code == ErrorCode::kClosed;
  return {closed ? Verdict::kClosed : Verdict::kResync, std::move(error), {}};
}

Outcome Applier::announce(const wire::Announce& announce) {
  auto state = from_wire(announce);
  if (!state) return {Verdict::kProtocol, std::move(state).error(), {}};
  info_ = state->info;
  auto announced = sink_.announce(state->info);
  if (announced) return {};
  return {
      works_later(announced.error()) ? Verdict::kRetry : Verdict::kFailed, std::move(announced).error(), {}};
}

Outcome Applier::drop(const wire::Drop& drop) {
  abandon_image();
  state_ = State::kWaiting;
  auto dropped = sink_.drop(id_, drop.unknown());
  if (dropped || dropped.error().code == ErrorCode::kNotFound) return {};
  return {works_later(dropped.error()) ? Verdict::kRetry : Verdict::kFailed, std::move(dropped).error(), {}};
}

Outcome Applier::begin_snapshot(const wire::SnapshotBegin& begin) {
  if (!info_) return protocol("a snapshot of a database that was not announced");
  auto start = from_wire(begin.start());
  if (!start) return {Verdict::kProtocol, std::move(start).error(), {}};
  std::uint32_t size = begin.page_size();
  if (size < wire::kPageSizeMin || size > wire::kPageSizeMax || !std::has_single_bit(size))
    return protocol("a snapshot with pages of " + std::to_string(size) + " bytes");
  abandon_image();
  has_nothing_ = false;
  const History history = untaken_.value_or(from_wire(begin.history()));
  auto begun = begin.difference()
                   ? sink_.begin_difference(*info_, *start, size, history)
                   : sink_.begin_snapshot(*info_, *start, size, Pgno{begin.page_count()}, history);
  if (!begun && begin.difference() && begun.error().code == ErrorCode::kUnsupported) {
    state_ = State::kWaiting;  // the first question is answered with nothing, or else the end
    by_difference_ = true;
    has_nothing_ = true;
    return {};
  }
  if (!begun) {
    untaken_ = history;
    return judge(std::move(begun).error());
  }
  untaken_.reset();
  by_difference_ = begin.difference();
  start_ = *start;
  end_.reset();
  page_size_ = size;
  pages_done_ = 0;
  state_ = State::kSnapshot;
  return {};
}

/// Every question is answered, so that the primary knows how many are open.
Outcome Applier::answer(const wire::SumsWanted& wanted) {
  auto runs = runs_of(wanted);
  if (!runs) return {Verdict::kProtocol, std::move(runs).error(), {}};
  if (state_ == State::kFollowing || (state_ == State::kSnapshot && !by_difference_))
    return protocol("a question about sums outside of a snapshot by difference");
  Outcome outcome;
  outcome.answer.emplace();
  if (state_ == State::kWaiting) {
    has_nothing_ = false;
    return outcome;
  }
  for (const PageRun& run : *runs) {
    auto sums = sink_.page_sums(id_, run.first, run.count);
    if (sums) {
      append_sums(*sums, wanted.range(), *outcome.answer);
      continue;
    }
    if (sums.error().code == ErrorCode::kInvalid) return {Verdict::kProtocol, std::move(sums).error(), {}};
    if (works_later(sums.error())) return {Verdict::kRetry, std::move(sums).error(), {}};
    spdlog::warn("database {}: {}; taking a whole snapshot", to_hex(id_.value), sums.error().message);
    state_ = State::kWaiting;
    outcome.answer->clear();
    break;
  }
  return outcome;
}

Outcome Applier::pages(const wire::SnapshotPages& pages, Bytes payload) {
  if (state_ == State::kWaiting) return {};
  if (state_ != State::kSnapshot) return protocol("snapshot pages outside of a snapshot");
  std::size_t index = 0;
  std::optional<Error> refused;
  auto walked = for_each_page(pages, payload, page_size_, [&](Pgno pgno, Bytes page) -> Result<void> {
    if (index++ < pages_done_) return {};
    auto put = sink_.snapshot_page(id_, pgno, page);
    if (put) {
      ++pages_done_;
    } else {
      refused = put.error();
    }
    return put;
  });
  if (refused) return judge(std::move(*refused));
  if (!walked) return {Verdict::kProtocol, std::move(walked).error(), {}};
  pages_done_ = 0;
  return {};
}

Outcome Applier::end_snapshot(const wire::SnapshotEnd& end) {
  // Of an empty database nothing is asked.
  if (std::exchange(has_nothing_, false))
    return judge(make_error(ErrorCode::kUnsupported, "there is nothing here to compare with"));
  if (state_ == State::kWaiting) return {};
  if (state_ != State::kSnapshot) return protocol("the end of a snapshot that was not begun");
  auto position = from_wire(end.end());
  if (!position) return {Verdict::kProtocol, std::move(position).error(), {}};
  auto ended = sink_.end_snapshot(id_, *position);
  if (!ended) return judge(std::move(ended).error());
  end_ = *position;
  state_ = State::kFollowing;
  reached(start_);
  return {};
}

Outcome Applier::begin_change_set(const wire::ChangeSet& change_set) {
  auto info = from_wire(change_set);
  if (!info) return {Verdict::kProtocol, std::move(info).error(), {}};
  if (state_ == State::kWaiting) return {};
  if (state_ == State::kSnapshot) return protocol("a change set inside of a snapshot");
  abandon_image();
  change_set_ = *info;
  return {};
}

Outcome Applier::chunk(Bytes payload) {
  if (state_ == State::kWaiting) return {};
  if (!change_set_) return protocol("a chunk of no change set");
  if (collected_ < change_set_->image_size) {
    if (payload.size() > change_set_->image_size - collected_)
      return protocol("more bytes than the change set has");
    auto collected = collect(payload);
    if (!collected) return judge(std::move(collected).error());
  }
  if (collected_ < change_set_->image_size) return {};
  spool_.reset();
  Sink::Image image{memory_, spool_path_};
  auto taken = sink_.change_set(id_, *change_set_, image);
  if (!taken) return judge(std::move(taken).error());
  reached(change_set_->post);
  abandon_image();
  return {};
}

void Applier::reached(const Position& position) {
  if (!end_ || position.txid < end_->txid) return;
  end_.reset();
  by_difference_ = false;
}

Result<void> Applier::collect(Bytes payload) {
  if (change_set_->image_size <= image_memory_max_) {
    append_bytes(memory_, payload);
    collected_ += payload.size();
    return {};
  }
  if (!spool_) {
    std::string path = sink_.spool_directory() + "/" + to_hex(id_.value) + ".image";
    RILL_TRY(files_.make_directories(sink_.spool_directory(), "receive: make spool directory"));
    RILL_ASSIGN(spool_, files_.open(path, OpenMode::kCreate, "receive: spool image"));
    spool_path_ = path;
    RILL_TRY(spool_->truncate(0, "receive: spool image"));
  }
  RILL_TRY(spool_->write_at(payload, collected_, "receive: spool image"));
  collected_ += payload.size();
  return {};
}

void Applier::abandon_image() {
  change_set_.reset();
  collected_ = 0;
  memory_ = Buffer();
  spool_.reset();
  // What cannot be removed is overwritten by the next image of this database, or goes at the next start.
  if (!spool_path_.empty()) (void)files_.remove(spool_path_, "receive: remove spooled image");
  spool_path_.clear();
}

}  // namespace rillfs::stream
