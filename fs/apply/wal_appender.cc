#include "fs/apply/wal_appender.h"

#include <cerrno>

#include "fs/apply/frame_writer.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "replication/base/failpoint.h"

namespace rillfs::apply {
namespace {

using namespace sqlite;

constexpr int kStateAttempts = 100;
constexpr std::size_t kBufferKeep = 128 << 10;  // bytes of scratch space kept between appends

}  // namespace

Result<std::unique_ptr<WalAppender>> WalAppender::open(const std::string& path,
                                                       const WalAppenderOptions& options, const Clock& clock,
                                                       Random& random) {
  RILL_ASSIGN(auto sqlite, SqliteConnection::open(path, options.lock_wait));
  if (!is_page_size(sqlite->page_size())) return make_error(ErrorCode::kCorrupt, path + ": bad page size");
  RILL_ASSIGN(Descriptor database, Descriptor::open(sqlite->file()));
  RILL_ASSIGN(Descriptor wal, Descriptor::open(companion_name(sqlite->file(), Companion::kWal)));
  RILL_ASSIGN(Descriptor shm, Descriptor::open(companion_name(sqlite->file(), Companion::kShm)));
  RILL_ASSIGN(SharedIndex index, SharedIndex::map(shm));
  std::unique_ptr<WalAppender> appender(new WalAppender(std::move(sqlite), std::move(database),
                                                        std::move(wal), std::move(shm), std::move(index),
                                                        options, clock, random));
  RILL_ASSIGN(appender->database_identity_, identity_of(appender->database_));
  RILL_ASSIGN(appender->wal_identity_, identity_of(appender->wal_));
  return appender;
}

WalAppender::WalAppender(std::unique_ptr<SqliteConnection> sqlite, Descriptor database, Descriptor wal,
                         Descriptor shm, SharedIndex index, const WalAppenderOptions& options,
                         const Clock& clock, Random& random)
    : options_(options),
      clock_(clock),
      random_(random),
      database_(std::move(database)),
      wal_(std::move(wal)),
      shm_(std::move(shm)),
      index_(std::move(index)),
      sqlite_(std::move(sqlite)) {}

Result<AppendResult> WalAppender::append(PageSource& pages, Pgno commit) {
  if (commit.value == 0)
    return make_error(ErrorCode::kInvalid,
                      "a database in WAL mode cannot become empty; write the file instead");
  RILL_TRY(check_files());
  RILL_ASSIGN(const WalIndexHeader header, lock_for_writing());
  auto result = append_locked(pages, commit, header);
  if (!hold_) write_lock_.release();
  if (buffer_.capacity() > kBufferKeep) Buffer().swap(buffer_);
  return result;
}

Result<void> WalAppender::check_files() const {
  RILL_TRY(check_same_file(sqlite_->file(), database_identity_));
  return check_same_file(companion_name(sqlite_->file(), Companion::kWal), wal_identity_);
}

Result<WalIndexHeader> WalAppender::lock_for_writing() {
  const Monotonic deadline = clock_.monotonic() + options_.lock_wait;
  for (Backoff backoff;; backoff.pause()) {
    if (!write_lock_.held()) {
      auto lock = OfdLock::lock_until(shm_.get(), kWalWrite, LockMode::kExclusive, clock_, deadline);
      if (!lock) return lock.error().with("wait for the write lock");
      write_lock_ = std::move(*lock);
    }
    if (const auto header = index_.header()) return *header;
    // Its last writer died while publishing, or it was invalidated. Recovery is SQLite's, under this very
    // lock.
    write_lock_.release();
    const auto recovered = sqlite_->read();
    if (!recovered && recovered.error().code != ErrorCode::kBusy) return recovered.error();
    if (clock_.monotonic() >= deadline)
      return make_error(ErrorCode::kBusy, "the wal-index is being recovered by another process");
  }
}

Result<AppendResult> WalAppender::append_locked(PageSource& pages, Pgno commit, WalIndexHeader header) {
  CheckedPages checked(pages, commit, page_size());
  RILL_ASSIGN(std::optional<Page> page, checked.next());
  AppendResult result;
  if (!page) {
    RILL_ASSIGN(result.state, state_of(header));
    if (commit == result.state.size) return result;
    return make_error(ErrorCode::kInvalid, "a change set without pages cannot change the size");
  }
  if (header.max_frame != 0) {
    RILL_TRY(check_last_frame(header));
    RILL_TRY(try_restart(header));
  }
  FrameWriter writer(wal_, index_, header, buffer_);
  if (header.max_frame == 0) {
    RILL_ASSIGN(const WalHeader generation, next_generation(header));
    writer.begin_generation(generation);
    result.restarted = true;
  }
  while (page) {
    RILL_TRY(writer.add(*page));
    RILL_ASSIGN(page, checked.next());
  }
  RILL_ASSIGN(header, writer.finish(commit));
  failpoint::reach("apply.wal.before_publish");
  index_.publish(header);
  failpoint::reach("apply.wal.after_publish");
  RILL_ASSIGN(result.state, state_of(header));
  return result;
}

// Guards against appending to a WAL that is not the one the index describes: behind a wrong frame, ours would
// be visible now and lost at the next recovery.
Result<void> WalAppender::check_last_frame(const WalIndexHeader& header) const {
  if (header.page_size != page_size())
    return make_error(ErrorCode::kCorrupt, "page size of the WAL is " + std::to_string(header.page_size) +
                                               ", of the database " + std::to_string(page_size()));
  std::uint8_t bytes[kFrameHeaderSize];
  RILL_ASSIGN(const std::size_t n, wal_.read_at(bytes, frame_offset(header.max_frame, header.page_size)));
  const FrameHeader frame = parse_frame_header(bytes);
  if (n != sizeof bytes || frame.salts != header.salts || frame.checksum != header.frame_checksum)
    return make_error(ErrorCode::kCorrupt, "the WAL does not have the last frame of its index");
  return {};
}

Result<bool> WalAppender::try_restart(WalIndexHeader& header) {
  if (index_.backfilled() < header.max_frame) return false;
  // CKPT as well: a checkpoint that is in flight may have decided on frames of this generation.
  RILL_ASSIGN(const auto checkpoint, OfdLock::try_lock(shm_.get(), kWalCheckpoint, LockMode::kExclusive));
  if (!checkpoint) return false;
  RILL_ASSIGN(const auto readers, OfdLock::try_lock(shm_.get(), kWalRead1To4, LockMode::kExclusive));
  if (!readers) return false;
  header.max_frame = 0;
  header.salts = {header.salts.first + 1, static_cast<std::uint32_t>(random_.next())};
  index_.publish(header);
  index_.reset_checkpoint_info();
  failpoint::reach("apply.wal.after_restart");
  RILL_ASSIGN(const std::uint64_t size, wal_.size());
  if (size > options_.wal_size_keep) RILL_TRY(wal_.truncate(0));
  return true;
}

// The salts are new whenever a WAL begins, so that no frame that may still be in the file continues the new
// ones.
Result<WalHeader> WalAppender::next_generation(const WalIndexHeader& header) const {
  WalHeader next{.order = kHostWordOrder, .page_size = page_size()};
  next.salts = {header.salts.first + 1, static_cast<std::uint32_t>(random_.next())};
  std::uint8_t bytes[kWalHeaderSize];
  RILL_ASSIGN(const std::size_t n, wal_.read_at(bytes, 0));
  if (const auto previous = parse_wal_header(Bytes(bytes, n)))
    next.checkpoint_sequence = previous->checkpoint_sequence + 1;
  (void)encode_wal_header(next);  // for its checksum
  return next;
}

Result<void> WalAppender::hold_writer_lock(bool hold) {
  hold_ = hold;
  if (!hold) {
    write_lock_.release();
    return {};
  }
  const auto header = lock_for_writing();
  if (!header) return header.error();
  return {};
}

Result<WalState> WalAppender::state() const {
  Backoff backoff;
  for (int i = 0; i < kStateAttempts; ++i) {
    if (const auto header = index_.header()) return state_of(*header);
    backoff.pause();
  }
  return make_error(ErrorCode::kBusy, "the wal-index is being recovered");
}

Result<WalState> WalAppender::state_of(const WalIndexHeader& header) const {
  RILL_ASSIGN(const std::uint64_t wal_bytes, wal_.size());
  Pgno size = header.size;
  if (size.value == 0) {  // a new index without frames: the file says it
    struct stat database {};
    if (::stat(sqlite_->file().c_str(), &database) != 0) return errno_error(errno, sqlite_->file());
    size = Pgno{static_cast<std::uint32_t>(static_cast<std::uint64_t>(database.st_size) / page_size())};
  }
  return WalState{
      .frames = header.max_frame, .backfilled = index_.backfilled(), .wal_bytes = wal_bytes, .size = size};
}

// Every connection in WAL mode holds SHARED for as long as it is open, ours as well.
Result<std::optional<LockHolder>> WalAppender::other_user() const {
  return find_conflict_with_others(database_.get(), kShared, LockMode::kExclusive);
}

Result<void> WalAppender::close(CloseMode mode) {
  hold_ = false;
  // A writer lock that is held stays to the end, so that no application writes in between. It would be in the
  // way only of SQLite's recovery.
  if (mode == CloseMode::kKeepWal || !index_.header()) write_lock_.release();
  Result<void> closed;
  if (mode == CloseMode::kCheckpointAndDelete) closed = sqlite_->close_as_application();
  write_lock_.release();
  return closed;
}

}  // namespace rillfs::apply
