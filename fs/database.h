// One name in the mount that is, or may become, a replicated database: its file, its companions, its
// content's checksums, its log, and what applications' file operations on them mean.
//
// On the primary the operations are captured (fs/capture): the call that commits a transaction returns only
// when its change set is in the log. On a replica the daemon writes and applications read; the operations
// below then refuse what would change content (design: "What an application sees when it writes on a
// replica").
//
// A database is *replicated* from its first commit on: it then has an id, a directory under dbs/ and a log.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "fs/capture/committer.h"
#include "fs/capture/staging.h"
#include "fs/capture/wal_scanner.h"
#include "fs/content.h"
#include "fs/environment.h"
#include "fs/expected_pages.h"
#include "fs/page_damage.h"
#include "fs/pages_ahead.h"
#include "fs/replay_base.h"
#include "fs/sqlite/wal_index.h"
#include "replication/base/file_system.h"
#include "replication/base/mutex.h"
#include "replication/log/log.h"
#include "replication/stream/databases.h"

namespace rillfs {

/// Who asks: an application, or a thread of the daemon's own that uses the mount.
enum class Caller : std::uint8_t { kApplication, kDaemon };

/// Threads: any of descriptor table 0; `mutex_` serialises. It is held for file I/O on the backing files,
/// never across the network or an access to the mount.
class Database : public std::enable_shared_from_this<Database> {
 public:
  /// A name that is not replicated yet. `file`: its backing file.
  Database(Environment& environment, std::string path, std::shared_ptr<File> file);
  /// A replicated database as recovery left it.
  struct Recovered {
    stream::DatabaseInfo info;
    Content content;
    ReplayBase base;
    std::unique_ptr<log::Log> log;
  };
  Database(Environment& environment, Recovered recovered, std::shared_ptr<File> file);
  ~Database();

  // --- identity
  // ---------------------------------------------------------------------------------------------
  bool replicated() const;
  DatabaseId id() const RILL_EXCLUDES(mutex_);
  stream::DatabaseInfo info() const RILL_EXCLUDES(mutex_);
  /// Relative path in the mount.
  std::string path() const RILL_EXCLUDES(mutex_);
  /// After a rename of it or of a directory above it. `save` persists it.
  void set_path(std::string path);
  /// Writes info.json as memory has it, if there is one.
  Result<void> save() const;
  /// The id that it has, or will have from its first commit on.
  DatabaseId reserve_id();
  /// Owner or mode of the file changed. Persisted before it returns.
  Result<void> set_attributes(std::uint32_t mode, std::uint32_t uid, std::uint32_t gid);
  /// What the file has when it becomes known.
  void start_attributes(std::uint32_t mode, std::uint32_t uid, std::uint32_t gid);
  /// Removes dbs/<id>: after `dropped`.
  Result<void> remove_directory();
  /// The name is gone: from now on its files are plain ones, whoever still has them open. True if it was
  /// replicated.
  bool dropped();
  bool is_dropped() const;

  // --- state
  // ------------------------------------------------------------------------------------------------
  /// What has been published: in the log, and visible to the application that committed it.
  stream::DatabaseState state() const;
  /// Position up to which the log may be read by others.
  Position published() const;
  /// How commits in the WAL are found: by each write, or by reading behind the writer.
  enum class Source : std::uint8_t { kNone, kHold, kTail };
  struct Details {
    Position position;
    Position base;
    std::uint64_t size = 0;  ///< bytes of the database's content
    std::uint64_t log_bytes = 0;
    std::uint32_t page_size = 0;
    bool wal_mode = false;
    Source source = Source::kNone;  ///< what the WAL's present handles say; nothing before the first one
    std::int64_t last_commit_ms = 0;
    std::string failure;  ///< why it is closed to writers; empty when it is not
  };
  Details details() const;
  /// As of the log's end.
  Content content() const;
  /// The committed content says WAL (bytes 18 and 19 of page 1).
  bool wal_mode() const;

  // --- requests of the mount
  // --------------------------------------------------------------------------------
  /// Whole pages that can be compared with the checksums of what was committed are: EIO if one differs.
  Result<std::size_t> read(MutableBytes into, std::uint64_t offset, Caller caller = Caller::kApplication);
  Result<void> write(Bytes bytes, std::uint64_t offset, Caller caller);
  Result<void> resize(std::uint64_t size, Caller caller);
  /// Size in bytes as applications see it: staged changes count.
  Result<std::uint64_t> size() const;
  Result<void> sync();

  Result<void> write_wal(const std::shared_ptr<File>& wal, Bytes bytes, std::uint64_t offset, Caller caller);
  Result<void> resize_wal(const std::shared_ptr<File>& wal, std::uint64_t size, Caller caller);
  Result<void> sync_wal();
  Result<void> write_journal(const std::shared_ptr<File>& journal, Bytes bytes, std::uint64_t offset);
  Result<void> resize_journal(const std::shared_ptr<File>& journal, std::uint64_t size);
  /// False: the journal itself has to be synced.
  bool sync_journal();
  /// A process that had the database open may have died: commits what it left whole in the WAL, which
  /// SQLite's recovery would take for committed.
  Result<void> capture_left_behind();
  /// No application has the WAL open, and one is about to: makes it one that can be read without its index.
  /// True if `wal` was changed.
  Result<bool> mend_wal(File& wal);
  using Perform = std::function<Result<void>()>;
  /// The name of the WAL or journal goes (unlink, rename away); `perform` does it. For a hot journal this is
  /// the commit point.
  Result<void> remove_wal(const Perform& perform);
  Result<void> remove_journal(const Perform& perform);
  // --- source "tail": database_tail.cc
  /// Before a WAL is passed through: what recovery needs to know of it is noted. False: it is not to be.
  bool may_be_followed();
  /// An application is about to use a handle that the kernel passes through to `wal`: commits are found by
  /// reading it from now on. `may_be_followed` has said yes.
  void begin_tail(std::shared_ptr<File> wal);
  /// The handles are not passed through: each write comes to us.
  Result<void> begin_hold();
  Source source() const;
  struct Drained {
    bool moved = false;        ///< there was something new
    std::uint32_t open = 0;    ///< frames of a transaction that is not complete
    bool needs_index = false;  ///< only the wal-index can say whether what follows is committed
    bool reconciles = false;   ///< what is there is taken over by reconcile instead
  };
  /// How well to look. What has been written over in an open transaction is cheap to overlook.
  enum class Look : std::uint8_t { kQuick, kThorough };
  /// Puts every transaction that is complete in the WAL into the log. Nothing to do unless the source is
  /// tail.
  Result<Drained> drain(Look look);
  /// Something was written to the WAL, and reconcile has not been able to take over what was there before.
  void wal_grows_unsettled() { unlogged_writes_.fetch_add(1); }
  /// Everything that is committed in the WAL is in the log when this returns, and what it cannot be told from
  /// is asked of the wal-index. May wait for the mount's threads.
  Result<void> catch_up() RILL_EXCLUDES(mutex_);
  /// The wal-index says what is committed; then drains.
  Result<Drained> drain_published(const sqlite::WalIndexHeader& index);
  /// An application waits for the sync of a commit that could not be put into the log, since `why`;
  /// `published` frames were committed before it. Tries once more; else the commit's frames are made none, so
  /// that nobody takes them for a commit, and `why` is the answer. `checkpoints`: the sync may as well be
  /// that of a checkpoint, beside which another thread of the process commits; then nothing is touched, and
  /// the database closed if there is such a commit.
  Result<void> refuse_followed(std::uint32_t published, bool checkpoints, const Error& why);
  /// It cannot be told which commit that is: closed to writers, so that nothing is built on it.
  Result<void> close_in_doubt(const Error& why);
  /// At start, after a daemon that followed the WAL died: takes over what was committed in `wal` and is not
  /// in the log.
  Result<void> take_from_wal(std::shared_ptr<File> wal);
  /// The mount through which applications had the WAL open is gone, but what the kernel passes through goes
  /// on: whoever still has it gets EPERM from now on. What came until then is taken over. Its name must be
  /// gone already: if the node dies meanwhile it counts no more.
  Result<void> fence_wal();
  // --- transactions over several databases: databases_attached.cc
  /// This one's journal names the super-journal `name` (without a directory), and there is something to
  /// commit.
  bool is_part_of(std::string_view name) const;
  /// The change set is in the log, durable if the application asked for that, and shown to nobody. Nothing
  /// else may be written until it is finished or revoked.
  Result<void> prepare_commit();
  /// Shows it. Cannot be refused any more: what fails closes the database to writers.
  void finish_commit();
  void revoke_commit();
  /// The wal-index that `shm` holds lags behind what was captured: its writer died between its last WAL write
  /// and publishing the index. Called at FLUSH, when the kernel has just written the mapping back.
  bool wal_index_is_behind(File& shm) const;

  /// Open handles of applications on the database file itself.
  void application_opened();
  /// Returns the number left.
  int application_closed();
  int application_handles() const { return application_handles_.load(); }

  // --- reconcile: content that arrived without a transaction
  // -------------------------------------------------
  std::uint64_t unlogged_writes() const { return unlogged_writes_.load(); }
  /// Content is about to be brought by a rename: a crash from now on believes the files, and keeps what lies
  /// beside them.
  void content_arrives();
  /// A WAL was put beside the file by other means than writing it, or null: the file itself came.
  void content_arrived(std::shared_ptr<File> wal);
  /// Something was written to the file without a journal or WAL since the last reconcile.
  bool has_unlogged_writes() const { return unlogged_writes_.load() != 0; }
  /// Takes the file's present content for one transaction, if its header agrees with its size and nobody
  /// writes meanwhile. The caller holds SQLite's SHARED lock on the file. False: not settled yet, try again
  /// later.
  Result<bool> reconcile();
  /// The same before the mount is there, whatever this node is now.
  Result<bool> reconcile_at_start();

  // --- snapshots and streaming
  // -------------------------------------------------------------------------------
  /// Latest committed content of one page, verified against its checksum. Nothing beyond the end, nor for the
  /// lock page. kBusy where something else is there that was written without a transaction.
  Result<bool> read_committed_page(Pgno pgno, MutableBytes into);
  /// The same for as many pages from `first` on as `into` holds, without making a commit wait for the disk.
  /// Returns how many, of `page_size` bytes, are there; it may be fewer than there are: then
  /// `read_committed_page` says what the next one is.
  std::uint32_t read_committed_run(Pgno first, std::uint32_t page_size, MutableBytes into);
  /// Checksums of the committed pages from `first` on; 0 for what is not there.
  std::vector<std::uint64_t> page_sums(Pgno first, std::uint32_t count) const;
  Pgno page_count() const;
  std::uint32_t page_size() const;
  std::string directory() const RILL_EXCLUDES(mutex_);      ///< dbs/<id>
  std::string log_directory() const RILL_EXCLUDES(mutex_);  ///< dbs/<id>/log
  /// A reader needs a part of the log (any number of readers; nothing takes the pin away).
  void pin_log(const void* reader, std::optional<log::Pin> pin);

  // --- integrity (database_check.cc says which pages can be compared)
  // --------------------------------------------------------------
  enum class PageCheck : std::uint8_t {
    kWhole,
    kUnknown,  ///< there is none of this number, or its newest content is not in the file yet (replica)
    kDamaged,  ///< reported already
  };
  /// Compares one page on disk with the checksum of what was committed. kBusy while content is taken over as
  /// it is. `into`: room for the largest page.
  Result<PageCheck> check_page(Pgno pgno, MutableBytes into);
  /// The next reads of this stretch of the file ask the disk.
  void read_from_disk(std::uint64_t offset, std::uint64_t size) const;
  struct LastCheck {
    std::int64_t at_ms = 0;  ///< wall clock at its end; 0: none yet
    std::uint64_t pages = 0;
    std::uint64_t unknown = 0;  ///< pages that could not be compared
    std::uint64_t damaged = 0;  ///< pages
  };
  /// All of its pages, `page_count` at the end, have been looked at.
  void checked(const LastCheck& check, Pgno page_count);
  struct Health {
    std::uint64_t damaged_pages = 0;  ///< as far as is known
    std::uint64_t damaged_ever = 0;   ///< found since the start
    bool out_of_service = false;      ///< replica: until the primary has sent it anew
    std::string problem;              ///< what is damaged, or not taken over, and what to do; empty: nothing
    LastCheck last_check;
  };
  Health health() const;

  // --- replica
  // -----------------------------------------------------------------------------------------------
  /// Verifies a change set against the local position and appends it to the log.
  Result<Position> receive(const stream::ChangeSetInfo& info, const stream::Sink::Image& image);
  /// A snapshot's complete file replaces the content: one record in the log that leads to `position`.
  Result<Position> receive_snapshot(const std::string& file_path, const Content& content);
  /// Change sets up to here are visible to readers; `file_complete` says that the database file itself holds
  /// all of them, so that it can become the replay base.
  void applied(const Position& position, bool file_complete);
  Position applied_position() const;
  /// The change set `txid`, after which the file has `size` bytes, is about to be shown: appended to the WAL,
  /// from where any checkpoint may take it, or written to the file. `make_durable` before the latter, so that
  /// no lock is held while the disk works; else the first write to the file waits for it.
  void applying(Txid txid, std::uint64_t size);
  /// The log up to `txid` survives a power cut.
  bool is_durable(Txid txid) const;
  Txid durable_txid() const;
  /// Until all of the log is. Not on a mount thread: the log's descriptor means nothing there.
  Result<void> make_durable();
  /// The database file itself has reached `position`: it can become the replay base.
  void file_holds(const Position& position);
  /// What the applied page 1 says.
  void set_wal_mode(bool wal_mode);

  // --- upkeep
  // ------------------------------------------------------------------------------------------------
  /// Makes the database file's durable content the replay base if enough log has gathered (or `force`), and
  /// lets go of what retention allows.
  Result<void> advance_base(bool force);
  /// Nothing uses the mount any more: bring the file up to the log's end, drop the companions, so that the
  /// next start reads only headers.
  Result<void> close(const std::string& tree_path);
  /// Copies committed frames that are only in the WAL into the database file.
  Result<void> write_back();

 private:
  // database_wal.cc
  Result<void> begin_generation(const WalView& view) RILL_REQUIRES(mutex_);
  void end_generation() RILL_REQUIRES(mutex_);
  Result<bool> repeats_committed_frames(File& wal, Bytes bytes, std::uint64_t offset) const
      RILL_REQUIRES(mutex_);
  Result<void> write_frames(Bytes bytes, std::uint64_t offset) RILL_REQUIRES(mutex_);
  Result<void> capture_wal(const WalView& view, Bytes bytes, std::uint64_t offset) RILL_REQUIRES(mutex_);
  Result<void> commit_wal(const WalView& view, const WalTransaction& transaction) RILL_REQUIRES(mutex_);
  Result<void> commit_all(std::optional<WalTransaction> transaction) RILL_REQUIRES(mutex_);
  Transaction transaction_of(const WalView& view, const WalTransaction& transaction) RILL_REQUIRES(mutex_);
  Result<bool> wal_mode_after(const WalView& view, const WalTransaction& transaction) const
      RILL_REQUIRES(mutex_);
  void look_for_backfilled() RILL_REQUIRES(mutex_);
  Result<void> read_page_below(Pgno pgno, std::uint32_t page_size, MutableBytes into) RILL_REQUIRES(mutex_);

  // database_tail.cc
  Result<Drained> drain_locked(Look look) RILL_REQUIRES(mutex_);
  Result<void> take_from_wal_locked() RILL_REQUIRES(mutex_);
  /// What file and WAL have together, as one transaction; which pages of it count is up to the caller.
  Transaction as_files_have_it(std::uint32_t page_size, Pgno commit) RILL_REQUIRES(mutex_);
  Result<void> settle_before_sync() RILL_REQUIRES(mutex_);
  Result<bool> look_at_generation() RILL_REQUIRES(mutex_);
  Result<void> commit_followed(Look look) RILL_REQUIRES(mutex_);
  Result<void> close_in_doubt_locked(const Error& why) RILL_REQUIRES(mutex_);
  void committed_frames_are_gone(const Error& error) RILL_REQUIRES(mutex_);
  Result<void> mark_followed() RILL_REQUIRES(mutex_);
  Result<void> unmark_followed() RILL_REQUIRES(mutex_);

  // database_journal.cc
  /// Whoever reads the database finds committed frames in a WAL first.
  bool has_wal_over_file() const RILL_REQUIRES(mutex_);
  /// Only then can a write to the file be a checkpoint's.
  bool wal_has_pages_of(std::uint64_t size, std::uint64_t offset) const RILL_REQUIRES(mutex_);
  Result<void> write_checkpoint(Bytes bytes, std::uint64_t offset) RILL_REQUIRES(mutex_);
  Result<void> commit_journal() RILL_REQUIRES(mutex_);
  /// Whether what is staged can be a change set: false for the first bytes of a file that are no database.
  Result<bool> stages_a_database() RILL_REQUIRES(mutex_);
  /// Into the file with what is staged, without a change set; reconcile takes it over once it is a database.
  Result<void> leave_as_it_is() RILL_REQUIRES(mutex_);
  struct Prepared;
  void leave_out_what_lies_below_wal(Transaction& transaction) RILL_REQUIRES(mutex_);
  Result<Prepared> append_staged() RILL_REQUIRES(mutex_);
  void show_staged(const Prepared& prepared) RILL_REQUIRES(mutex_);
  /// Some of what is staged may be in the file: only with all of it there can it be used again.
  void copy_later(const Prepared& prepared, const Error& why) RILL_REQUIRES(mutex_);
  /// Bytes of the file as the transaction leaves it.
  Result<std::uint64_t> staged_size() const RILL_REQUIRES(mutex_);
  Result<Transaction> staged_transaction() RILL_REQUIRES(mutex_);
  bool committed_wal_mode(const Transaction& transaction) const RILL_REQUIRES(mutex_);
  /// `size` bytes were written at `offset`, where the journal's header is.
  Result<void> note_journal_header(File& journal, std::uint64_t offset, std::size_t size)
      RILL_REQUIRES(mutex_);
  Result<void> commit_at_journal_end(const Perform& perform) RILL_REQUIRES(mutex_);

  // database_state.cc
  Result<void> make_replicated() RILL_REQUIRES(mutex_);
  /// Also where it was closed for want of room, and there is some again.
  Result<void> require_writable() RILL_REQUIRES(mutex_);
  /// The content moves on to what was appended. Who commits several tells others once (Environment::changed).
  void move_on() RILL_REQUIRES(mutex_);
  /// And tells others.
  void publish() RILL_REQUIRES(mutex_);
  /// Closes it to writers: until the restart, or until there is room again if that is all that is missing.
  void fail(const Error& error) RILL_REQUIRES(mutex_);
  /// Where it was closed for want of room: does what could not be done. kNoSpace while there is none.
  Result<void> go_on() RILL_REQUIRES(mutex_);
  Result<void> save_info() const RILL_REQUIRES(mutex_);
  bool captures(Caller caller) const;

  // database_durability.cc
  Result<void> append_transaction(const Transaction& transaction, bool* changed) RILL_REQUIRES(mutex_);
  Result<void> sync_log() RILL_REQUIRES(mutex_);
  /// Of the record that was appended last, which nobody was told about.
  Result<void> sync_or_take_back() RILL_REQUIRES(mutex_);
  bool is_durable_locked(Txid txid) const RILL_REQUIRES(mutex_);
  /// Before anything committed goes into the file.
  Result<void> log_before_file() RILL_EXCLUDES(mutex_);
  bool base_is_due(bool force) const RILL_REQUIRES(mutex_);
  Result<void> save_synced_base(log::Log& log, const Position& holds, const Content& content)
      RILL_EXCLUDES(mutex_);

  // database_check.cc
  /// A replica changes `content_` only with both mutexes held, so either will do to read it. The analysis
  /// cannot be told that.
  const Content& content_on_replica() const RILL_REQUIRES(checks_mutex_) RILL_NO_THREAD_SAFETY_ANALYSIS {
    return content_;
  }
  ExpectedPages expected_on_primary(std::uint64_t offset, std::size_t size) const RILL_REQUIRES(mutex_);
  ExpectedPages expected_on_replica(std::uint64_t offset, std::size_t size) const
      RILL_REQUIRES(checks_mutex_);
  Result<std::size_t> read_on_replica(MutableBytes into, std::uint64_t offset, Caller caller)
      RILL_EXCLUDES(mutex_, checks_mutex_);
  /// What an application may do to the file's size on a replica: what a checkpoint does.
  Result<void> resize_on_replica(std::uint64_t size) RILL_REQUIRES(mutex_);
  Result<PageCheck> check_page_on_replica(Pgno pgno, MutableBytes into) RILL_EXCLUDES(mutex_, checks_mutex_);
  Result<PageCheck> judge_page(PageDamage damage, const Result<void>& read, Bytes page)
      RILL_EXCLUDES(mutex_, checks_mutex_);
  bool still_expected(Pgno pgno, Checksum sum) const RILL_EXCLUDES(checks_mutex_);
  Result<void> require_expected(const std::vector<ExpectedPages::Mismatch>& wrong,
                                const ExpectedPages& expected) RILL_EXCLUDES(mutex_, checks_mutex_);
  Error out_of_service_error() const;
  void report_damage(const PageDamage& damage) RILL_EXCLUDES(mutex_, checks_mutex_);
  void found_whole(Pgno pgno) RILL_EXCLUDES(checks_mutex_);
  /// A snapshot's file is here: where a page of the database file is damaged and the snapshot has it as it
  /// should be, it is put right. So no reader, of whatever transaction, meets it again.
  Result<void> mend_file(File& snapshot, const Content& content) RILL_EXCLUDES(mutex_);
  /// `content_` is a snapshot's now, and was at `before`.
  void content_replaced(const Position& before) RILL_REQUIRES(mutex_, checks_mutex_);
  void note_applied(const Position& position) RILL_EXCLUDES(mutex_, checks_mutex_);
  void serve_again(const std::string& name) RILL_REQUIRES(checks_mutex_);

  // database_replica.cc
  static Error read_only_error();
  /// The log has refused what was received.
  Error refused(Error error) RILL_REQUIRES(mutex_);
  Result<void> append_image(const log::NewRecord& record, const stream::Sink::Image& image)
      RILL_REQUIRES(mutex_);
  /// What replaces all that is in the log, once it is committed.
  Result<log::Appender> begin_snapshot_record(const Content& content, const ltx::Header& header)
      RILL_EXCLUDES(mutex_);

  // reconcile.cc
  Result<void> begin_unlogged_write() RILL_REQUIRES(mutex_);
  void note_unlogged_write() RILL_REQUIRES(mutex_);
  /// Of the file, and of the WAL if it has anything: what the file says without the log.
  Result<void> sync_content() RILL_REQUIRES(mutex_);
  Result<bool> reconcile_locked() RILL_REQUIRES(mutex_);
  void look_for_arrived_journal() RILL_REQUIRES(mutex_);
  /// False, and why, and what to do, is said by `health`.
  bool not_settled(const std::string& why, const char* remedy) RILL_EXCLUDES(checks_mutex_);
  Result<void> remove_unlogged_mark() RILL_REQUIRES(mutex_);
  Result<void> check_claimed_size(const Transaction& transaction) const RILL_REQUIRES(mutex_);
  Result<void> scan_whole_wal() RILL_REQUIRES(mutex_);
  /// Of a WAL that was scanned: behind its last verified commit there is one that SQLite has not sealed.
  Result<bool> has_unsealed_commit_behind() const RILL_REQUIRES(mutex_);
  /// The file beside the database that would be its WAL or journal; null if there is none.
  std::unique_ptr<File> open_beside(const char* suffix, OpenMode mode) RILL_REQUIRES(mutex_);

  Environment& environment_;
  const std::shared_ptr<File> file_;

  mutable Mutex mutex_;
  stream::DatabaseInfo info_ RILL_GUARDED_BY(mutex_);
  std::optional<DatabaseId> reserved_id_ RILL_GUARDED_BY(mutex_);
  bool replicated_ RILL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> dropped_{false};
  /// A replica changes it only with checks_mutex_ held as well.
  Content content_ RILL_GUARDED_BY(mutex_);
  ReplayBase base_ RILL_GUARDED_BY(mutex_);
  std::shared_ptr<log::Log> log_ RILL_GUARDED_BY(mutex_);  ///< syncs go on without the mutex, on a copy
  Committer committer_ RILL_GUARDED_BY(mutex_);
  bool wal_mode_ RILL_GUARDED_BY(mutex_) = false;  ///< as the committed page 1 says
  std::shared_ptr<File> wal_ RILL_GUARDED_BY(mutex_);
  WalScanner scanner_ RILL_GUARDED_BY(mutex_);
  Source source_ RILL_GUARDED_BY(mutex_) = Source::kNone;
  bool marked_followed_ RILL_GUARDED_BY(mutex_) = false;  ///< dbs/<id>/followed is there
  Staging staging_ RILL_GUARDED_BY(mutex_);
  enum class HotJournal : std::uint8_t {
    kNone,
    kMadeHere,  ///< a transaction is open; what it writes is staged
    /// It came with the file, which may have half a transaction in it. Until an application has rolled that
    /// back the file is no content to take over, and written to as it is.
    kArrived,
  };
  /// What the rollback journal is whose header stands.
  HotJournal hot_journal_ RILL_GUARDED_BY(mutex_) = HotJournal::kNone;
  /// The application asked for durability in this transaction.
  bool journal_synced_ RILL_GUARDED_BY(mutex_) = false;
  struct Prepared {
    bool changed = false;  ///< there is a change set
    bool wal_mode = false;
    std::uint64_t size = 0;  ///< bytes of the file afterwards
  };
  std::optional<Prepared> prepared_ RILL_GUARDED_BY(mutex_);  ///< in the log, and not decided
  std::string failure_ RILL_GUARDED_BY(mutex_);
  bool failure_passes_ RILL_GUARDED_BY(mutex_) = false;  ///< with room: go_on()
  /// In the log, and not all of it in the file, for want of room: what is staged is kept until it is.
  std::optional<Prepared> half_copied_ RILL_GUARDED_BY(mutex_);
  /// Newest position that the database file itself is known to hold.
  std::optional<Position> file_holds_ RILL_GUARDED_BY(mutex_);
  bool advancing_ RILL_GUARDED_BY(mutex_) = false;  ///< a new base is being recorded
  /// Where the log ended when the base was recorded.
  std::uint64_t base_log_offset_ RILL_GUARDED_BY(mutex_) = 0;
  std::unordered_map<const void*, log::Pin> pins_ RILL_GUARDED_BY(mutex_);
  std::atomic<std::uint64_t> unlogged_writes_{0};

  mutable Mutex published_mutex_ RILL_ACQUIRED_AFTER(mutex_);
  stream::DatabaseState published_ RILL_GUARDED_BY(published_mutex_);
  Position applied_ RILL_GUARDED_BY(published_mutex_);
  /// Replica: the newest change set that the WAL or the file may have.
  Txid applying_ RILL_GUARDED_BY(mutex_);
  /// Of the file after it and after the one before, bytes: what an application's checkpoint can make of it.
  std::array<std::uint64_t, 2> applying_sizes_ RILL_GUARDED_BY(mutex_){};
  std::int64_t last_commit_ms_ RILL_GUARDED_BY(published_mutex_) = 0;

  mutable Mutex checks_mutex_ RILL_ACQUIRED_AFTER(mutex_);
  PagesAhead ahead_ RILL_GUARDED_BY(checks_mutex_);
  std::map<Pgno, PageDamage> damaged_ RILL_GUARDED_BY(checks_mutex_);  ///< the first few thousand
  std::uint64_t damaged_ever_ RILL_GUARDED_BY(checks_mutex_) = 0;
  bool out_of_service_ RILL_GUARDED_BY(checks_mutex_) = false;  ///< replica: damaged, and asked for anew
  /// It came, and is in service again once it is applied.
  std::optional<Position> serves_from_ RILL_GUARDED_BY(checks_mutex_);
  LastCheck last_check_ RILL_GUARDED_BY(checks_mutex_);
  /// Why what was written without a transaction is not taken over; empty: it is.
  std::string not_settled_ RILL_GUARDED_BY(checks_mutex_);
  std::atomic<bool> has_damage_{false};

  std::atomic<int> application_handles_{0};
};

}  // namespace rillfs
