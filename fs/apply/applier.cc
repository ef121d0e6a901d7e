#include "fs/apply/applier.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cerrno>

#include "fs/databases.h"
#include "fs/sqlite/database_header.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/decoder.h"

namespace rillfs::apply {
namespace {

constexpr Duration kRetryDelay = std::chrono::milliseconds(20);
constexpr Duration kRetryDelayMax = std::chrono::milliseconds(320);
/// What may be written at the same time: other databases, logs. Bytes.
constexpr std::uint64_t kRoomForOthers = 256 << 10;
/// Locks are often in the way for a moment; what lasts longer is worth a line in the log.
constexpr Duration kPatience = std::chrono::seconds(2);

/// A change set's pages out of the log.
class RecordPages final : public PageSource {
 public:
  explicit RecordPages(ByteSource& source) : decoder_(source) {}
  Result<ltx::Header> begin() { return decoder_.begin(); }
  Result<std::optional<Page>> next() override {
    RILL_ASSIGN(auto page, decoder_.next());
    if (!page) {
      RILL_TRY(decoder_.finish());
      return std::optional<Page>();
    }
    return std::optional<Page>(Page{page->pgno, page->data});
  }

 private:
  ltx::Decoder decoder_;
};

/// Passes pages on, and looks at page 1.
class HeaderWatch final : public PageSource {
 public:
  explicit HeaderWatch(PageSource& source) : source_(source) {}
  Result<std::optional<Page>> next() override {
    RILL_ASSIGN(const std::optional<Page> page, source_.next());
    if (page && page->pgno.value == 1) {
      if (auto header = sqlite::parse_database_header(page->data)) wal_mode_ = header->is_wal();
    }
    return std::optional<Page>(page);
  }
  /// What page 1 says, if it was among them.
  std::optional<bool> wal_mode() const { return wal_mode_; }

 private:
  PageSource& source_;
  std::optional<bool> wal_mode_;
};

}  // namespace

Applier::Applier(Databases& databases, std::shared_ptr<Database> database, MountThreads& threads,
                 std::string mountpoint, ApplierOptions options)
    : databases_(databases),
      database_(std::move(database)),
      threads_(threads),
      mountpoint_(std::move(mountpoint)),
      options_(options),
      strand_(threads.make_strand()),
      wal_mode_(database_->wal_mode()),
      retry_delay_(kRetryDelay) {}

std::string Applier::obstacle() const {
  Lock lock(mutex_);
  return obstacle_.empty() ? name_obstacle_ : obstacle_;
}

void Applier::set_obstacle(std::string obstacle) {
  Lock lock(mutex_);
  const Monotonic now = clock_.monotonic();
  if (obstacle_.empty() != obstacle.empty()) obstacle_since_ = now;
  obstacle_ = std::move(obstacle);
  if (obstacle_.empty()) {
    obstacle_told_ = false;
  } else if (!obstacle_told_ && now - obstacle_since_ > kPatience) {
    obstacle_told_ = true;
    spdlog::warn("{}: applying waits: {}", database_->path(), obstacle_);
  }
}

void Applier::retry_later(const Error& error) {
  set_obstacle(error.message);
  if (scheduled_.exchange(true)) return;
  databases_.delayed().run_after(retry_delay_, [self = shared_from_this()] {
    self->scheduled_ = false;
    boost::asio::post(self->strand_, [self] { self->apply(); });
  });
  // An application may take its time; its last close is reported as well.
  retry_delay_ = std::min(2 * retry_delay_, kRetryDelayMax);
}

void Applier::apply_soon() {
  if (posted_.exchange(true)) return;
  boost::asio::post(strand_, [self = shared_from_this()] {
    self->posted_ = false;
    self->apply();
  });
}

void Applier::apply() {
  if (closed_ || database_->is_dropped()) return;
  if (auto moved = move_companions(); !moved) return retry_later(moved.error());
  if (options_.candidate && !appender_ && database_->wal_mode() && database_->application_handles() > 0) {
    if (auto opened = open_appender(); !opened) return retry_later(opened.error());
  }
  for (;;) {
    auto more = apply_next();
    if (!more) return retry_later(more.error());
    set_obstacle({});
    retry_delay_ = kRetryDelay;
    if (!*more) break;
  }
  if (merged_.empty()) merged_ = {};  // its memory
}

/// True if there is a next record.
Result<bool> Applier::read_next() {
  if (next_) return true;
  const Position applied = merged_.empty() ? database_->applied_position() : merged_.last().post_position();
  const Position logged = database_->published();
  if (applied.same_place(logged)) return false;
  if (!reader_) {
    RILL_ASSIGN(reader_, log::open_reader(files_, database_->log_directory(), database_->id(), applied));
  }
  auto record = reader_->next(logged.txid);
  // A snapshot has replaced the log under the reader: it starts again from where this node stands.
  if (!record || !*record) reader_.reset();
  RILL_ASSIGN(next_, std::move(record));
  if (!next_) return make_error(ErrorCode::kBusy, "the log was replaced by a snapshot");
  return true;
}

/// Merges what may be applied now and fits; the first that does not is next_.
Result<void> Applier::gather() {
  const std::optional<Txid> durable = goes_to_wal() ? std::nullopt : std::optional(database_->durable_txid());
  for (;;) {
    RILL_ASSIGN(const bool there, read_next());
    if (!there || (durable && next_->max_txid > *durable)) return {};
    auto source = reader_->source();
    RecordPages pages(source);
    RILL_TRY(pages.begin());
    RILL_ASSIGN(const bool taken, merged_.add(pages, *next_));
    if (!taken) return {};
    next_.reset();
  }
}

Result<bool> Applier::apply_next() {
  // What is half written is written again as it was.
  if (merged_.empty()) {
    auto gathered = gather();
    // What came before the error is good.
    if (!gathered && merged_.empty()) {
      reader_.reset();
      next_.reset();
      return gathered.error();
    }
  }
  if (!merged_.empty()) {
    RILL_TRY(apply_merged());
    return true;
  }
  if (!next_) return false;
  if (!goes_to_wal() && !is_half_written() && !database_->is_durable(next_->max_txid)) {
    make_log_durable();
    return false;
  }
  auto done = apply_alone(*next_);
  next_.reset();
  if (!done) reader_.reset();  // it is read again from its start next time
  RILL_TRY(done);
  return true;
}

Result<void> Applier::apply_merged() {
  merged_.rewind();
  auto done = show(merged_, merged_.last());
  if (!done && is_half_written()) return done;
  merged_.clear();
  if (done) return done;
  reader_.reset();
  next_.reset();
  return done;
}

Result<void> Applier::apply_alone(const log::RecordInfo& record) {
  auto source = reader_->source();
  RecordPages pages(source);
  RILL_TRY(pages.begin());
  return show(pages, record);
}

bool Applier::goes_to_wal() const {
  return appender_ != nullptr || (wal_mode_ && database_->application_handles() > 0);
}

// What is received meanwhile becomes durable with it, so that a stream of small change sets costs few syncs.
void Applier::make_log_durable() {
  if (syncing_log_.exchange(true)) return;
  databases_.run_on_disk([self = shared_from_this()] {
    // If it fails the log is closed, and whoever receives the next change set says so; without room only
    // until there is some.
    auto durable = self->database_->make_durable();
    self->syncing_log_ = false;
    if (durable) self->apply_soon();
    if (durable || durable.error().code != ErrorCode::kNoSpace) return;
    boost::asio::post(self->strand_, [self, error = durable.error()] { self->retry_later(error); });
  });
}

/// Makes the pages visible, after which the database is as `record` has it.
Result<void> Applier::show(PageSource& source, const log::RecordInfo& record) {
  database_->applying(record.max_txid, record.database_size());
  HeaderWatch pages(source);
  RILL_TRY(make_ready(record));
  RILL_TRY(appender_ ? append(pages, record) : write(pages, record));
  wal_mode_ = pages.wal_mode().value_or(wal_mode_);
  database_->set_wal_mode(wal_mode_ || appender_ != nullptr);
  failpoint::reach("apply.before_position");
  database_->applied(record.post_position(), appender_ == nullptr);
  failpoint::reach("apply.after_position");
  databases_.progressed(*database_);
  const bool readers = database_->application_handles() > 0;
  if (pages.wal_mode() && wal_mode_ && !appender_ && readers) return open_appender();
  return {};
}

// Decides between WAL and file: afterwards the record can be appended, or written if there is no appender.
Result<void> Applier::make_ready(const log::RecordInfo& record) {
  if (is_half_written()) return {};
  const bool readers = database_->application_handles() > 0;
  const bool wanted = readers && wal_mode_ && record.commit.value != 0;
  // Frames that only a WAL has must get into the file before the file is written.
  if (!appender_ && (wanted || wal_is_left())) RILL_TRY(open_appender());
  if (appender_ && (record.page_size != appender_->page_size() || record.commit.value == 0)) {
    return take_wal_away(record);
  }
  return {};
}

// For what a WAL cannot express: it must be gone first, and with it the applications that use it, as SQLite
// itself demands of whoever switches from WAL. The appender stays as long as they do: it keeps the WAL in
// order, and writers out.
Result<void> Applier::take_wal_away(const log::RecordInfo& record) {
  warm_ = false;  // who opens it from now on waits for this strand
  auto other = appender_->other_user();
  if (!other || *other) warm_ = true;
  RILL_TRY(other);
  if (*other) {
    const std::string change = record.commit.value == 0
                                   ? std::string("being emptied")
                                   : "pages of " + std::to_string(record.page_size) + " bytes";
    return make_error(ErrorCode::kBusy, (*other)->to_text() + " has the database open in WAL mode, which " +
                                            change + " must wait for; close it there");
  }
  auto closed = close_appender();
  if (!closed && !appender_) (void)open_appender();  // somebody came in between
  return closed;
}

bool Applier::wal_is_left() const {
  struct stat status {};
  const std::string wal = databases_.environment().tree_directory() + "/" + database_->path() + "-wal";
  if (::stat(wal.c_str(), &status) < 0) return errno != ENOENT;
  return status.st_size > 0;
}

Result<void> Applier::append(PageSource& pages, const log::RecordInfo& record) {
  RILL_ASSIGN(WalState before, appender_->state());
  if (before.wal_bytes > options_.wal_limit_bytes && before.backfilled < before.frames) {
    checkpoint_soon(before);
    return make_error(ErrorCode::kBusy,
                      "the WAL has reached " + std::to_string(before.wal_bytes >> 20) +
                          " MiB because a reader on this node stays in one transaction; it goes on "
                          "when that ends (replica.wal_limit)");
  }
  const Position position = database_->applied_position();
  RILL_ASSIGN(AppendResult appended, appender_->append(pages, record.commit));
  if (appended.restarted) database_->file_holds(position);
  checkpoint_soon(appended.state);
  return {};
}

// Half a change set keeps readers out until there is room for the rest: better none of it.
Result<void> Applier::require_room(const log::RecordInfo& record) const {
  const std::string file = databases_.environment().tree_directory() + "/" + database_->path();
  struct stat status {};
  const std::uint64_t size = record.database_size();
  if (::stat(file.c_str(), &status) < 0 || size <= static_cast<std::uint64_t>(status.st_size)) return {};
  const std::uint64_t growth = size - static_cast<std::uint64_t>(status.st_size);
  if (databases_.environment().files.room(databases_.environment().data_directory) >= growth + kRoomForOthers)
    return {};
  return Error{ErrorCode::kNoSpace, ENOSPC,
               database_->path() + ": No space left on device for the " + std::to_string(growth) +
                   " bytes by which it grows"};
}

Result<void> Applier::write(PageSource& pages, const log::RecordInfo& record) {
  if (!is_half_written()) RILL_TRY(require_room(record));
  if (!writer_) {
    RILL_ASSIGN(writer_, RollbackWriter::open(path(), RollbackWriterOptions{}, clock_));
    if (options_.candidate) RILL_TRY(writer_->hold_reserved(true));
  }
  return writer_->write(pages, record.commit, record.page_size);
}

Result<void> Applier::open_appender() {
  if (is_half_written()) {
    // Its lock keeps the half from readers; only the rest of the change set may end that.
    return make_error(ErrorCode::kBusy, "a change set is half written");
  }
  writer_.reset();
  failpoint::reach("apply.wal.before_open");
  RILL_ASSIGN(auto opened, WalAppender::open(path(), WalAppenderOptions{}, clock_, random_));
  if (options_.candidate) RILL_TRY(opened->hold_writer_lock(true));
  appender_ = std::move(opened);
  database_->set_wal_mode(true);
  warm_ = true;
  return {};
}

Result<void> Applier::close_appender() {
  if (!appender_) return {};
  if (checkpointing_) return make_error(ErrorCode::kBusy, "a checkpoint is running");
  auto closing = std::move(appender_);
  warm_ = false;
  // First: without a WAL an application's write to the file would be no checkpoint.
  database_->set_wal_mode(wal_mode_);
  failpoint::reach("apply.wal.before_close");
  RILL_TRY(closing->close(CloseMode::kCheckpointAndDelete));
  failpoint::reach("apply.wal.after_close");
  closing.reset();
  // Gone, if nobody else has it open: then all of it is in the file. Asked of the backing tree, since a mount
  // that somebody has detached meanwhile shows nothing at all.
  if (wal_is_left()) return make_error(ErrorCode::kBusy, "an application has the database open in WAL mode");
  database_->file_holds(database_->applied_position());
  return {};
}

void Applier::checkpoint_soon(const WalState& state) {
  if (state.frames - state.backfilled < options_.checkpoint_frames || checkpointing_.exchange(true)) return;
  // Off the strand: change sets go on being applied meanwhile.
  boost::asio::post(threads_.checkpoint_executor(), [self = shared_from_this(), appender = appender_] {
    failpoint::reach("apply.wal.before_checkpoint");
    auto checkpointed = appender->checkpoint_passive();
    failpoint::reach("apply.wal.after_checkpoint");
    if (!checkpointed && checkpointed.error().code != ErrorCode::kBusy) {
      spdlog::warn("{}: checkpoint: {}", self->database_->path(), checkpointed.error().message);
    }
    self->checkpointing_ = false;
  });
}

void Applier::warm(const std::function<void()>& done) {
  if (!appender_ && !closed_ && database_->wal_mode() && !database_->is_dropped()) {
    if (auto opened = open_appender(); !opened) {
      spdlog::warn("{}: its WAL could not be prepared for readers: {}", database_->path(),
                   opened.error().message);
    }
  }
  done();
}

void Applier::cool() {
  if (closed_ || database_->is_dropped() || !companions_of_.empty()) return;
  if (!appender_ && !wal_is_left()) return;
  if (!appender_ && !open_appender()) return databases_.readers_left(database_);
  warm_ = false;  // who opens it from now on waits for this strand
  if (database_->application_handles() > 0) {
    warm_ = true;
    return;
  }
  if (auto closed = close_appender(); !closed) {
    warm_ = appender_ != nullptr;
    databases_.readers_left(database_);  // tried again later
    return;
  }
  databases_.environment().backfilled(database_->id());
  apply();
}

void Applier::wait_for_checkpoint() const {
  while (checkpointing_) ::usleep(1000);  // it uses the appender, on another thread
}

void Applier::close() {
  closed_ = true;
  wait_for_checkpoint();
  if (auto closed = close_appender(); !closed) {
    spdlog::debug("{}: {}", database_->path(), closed.error().message);
  }
  writer_.reset();
  reader_.reset();
}

}  // namespace rillfs::apply
