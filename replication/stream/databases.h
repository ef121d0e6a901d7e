// What streaming sees of the databases: the seam between replication (which knows no FUSE) and fs (which
// implements these interfaces on the mount's databases).
//
// A snapshot is *fuzzy*: its pages are read while commits go on, each at some version between the snapshot's
// start position and its end position. The change sets after the start follow in the ordinary way; once they
// reach the end position the content is exact, since page images are idempotent, and its rolling checksum is
// compared with the primary's. So nothing holds up the primary, and nothing is kept for a slow receiver.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"

namespace rillfs::stream {

/// The replicated name and attributes of a database. Names are bytes, relative to the mount, without a
/// leading slash and without "." or ".." components.
struct DatabaseInfo {
  DatabaseId id;
  std::string path;
  std::uint32_t mode = 0644;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  friend bool operator==(const DatabaseInfo&, const DatabaseInfo&) = default;
};

struct DatabaseState {
  DatabaseInfo info;
  Position position;             ///< after the last change set in the log
  std::uint64_t log_offset = 0;  ///< bytes ever appended to this log: differences are lag in bytes
};

/// One change set as the wire announces it: where it applies, where it leads, and how long its LTX image is.
/// For a replica that is far behind several transactions may be merged into one.
struct ChangeSetInfo {
  Position pre;
  Position post;
  std::uint64_t image_size = 0;   ///< bytes
  std::int64_t timestamp_ms = 0;  ///< commit time of the first transaction, on the primary's wall clock
  std::uint64_t log_offset = 0;   ///< of its end, as in DatabaseState
  std::uint64_t log_size = 0;     ///< bytes of the primary's log that it stands for; 0: not said
  /// In the primary's log, where it begins.
  std::uint64_t log_begin() const {
    return log_offset - std::min(log_offset, std::max(log_size, image_size));
  }
  bool is_merged() const { return post.txid > pre.txid.next(); }
};

/// Reads a database's change sets in order. Threads: one at a time. May block on disk reads.
class ChangeSetCursor {
 public:
  virtual ~ChangeSetCursor() = default;
  /// Moves to the next change set; nothing when all that is in the log has been read (call again later).
  /// kNotInLog when retention has removed what comes next: the reader needs a snapshot.
  virtual Result<std::optional<ChangeSetInfo>> next() = 0;
  /// The next bytes of the current image; 0 at its end.
  virtual Result<std::size_t> read(MutableBytes into) = 0;
};

/// Pages of a fuzzy snapshot, ascending. Threads: one at a time. May block on disk reads.
class SnapshotCursor {
 public:
  virtual ~SnapshotCursor() = default;
  virtual Position start() const = 0;           ///< change sets after this complete the snapshot
  virtual std::uint32_t page_size() const = 0;  ///< bytes
  virtual Pgno page_count() const = 0;          ///< at the start; for progress only
  struct Page {
    Pgno pgno;
    Bytes data;  ///< page_size bytes, valid until the next call
  };
  /// Nothing after the last page. The lock page is left out. After kBusy the same page is the next one.
  virtual Result<std::optional<Page>> next() = 0;
  /// After the last page: the position that the reader must reach before the content is exact.
  virtual Position end() const = 0;
};

/// A database's committed pages in any order, each as it is when it is asked for, for a snapshot by
/// difference. Threads: one at a time. May block on disk reads.
class PageSource {
 public:
  virtual ~PageSource() = default;
  virtual Position start() const = 0;     ///< change sets after this complete the snapshot
  virtual Position position() const = 0;  ///< now
  virtual std::uint32_t page_size() const = 0;
  virtual Pgno page_count() const = 0;
  /// Checksums of `count` pages from `first` on, one after the other; 0 for what is not there.
  virtual std::vector<std::uint64_t> sums(Pgno first, std::uint32_t count) const = 0;
  /// Nothing for a page that is not there. Valid until the next call. kBusy: again, later.
  virtual Result<std::optional<Bytes>> read(Pgno pgno) = 0;
};

/// What a primary that sends a snapshot knows of the position where the replica stands.
enum class History : std::uint8_t {
  kUnknown,  ///< older than its log
  kShared,   ///< it is in its history: the replica is only behind
  kAnother,  ///< it is not: the replica has transactions that the primary never had, or has lost
};

/// Whether `path` may be a DatabaseInfo's: input is hostile.
bool is_database_path(std::string_view path);

/// The primary's databases, for the publisher. Threads: any.
class Source {
 public:
  virtual ~Source() = default;
  virtual std::vector<DatabaseState> list() = 0;
  /// Databases that are here and cannot be read at present: a replica keeps what it has of them.
  virtual std::vector<DatabaseId> withheld() { return {}; }
  /// It was here, and was dropped on purpose. False also for one that this node has lost.
  virtual bool was_dropped(DatabaseId id) = 0;
  /// One database; nothing when it is gone. Called once a commit for each subscriber: worth an index.
  virtual std::optional<DatabaseState> find(DatabaseId id) = 0;
  /// Change sets after `after`. kNotInLog when the log does not reach back to it; kPositionMismatch when it
  /// does, or has not come so far, and `after` is not in it; kNotFound when the database is gone. While the
  /// cursor lives, the log keeps what it has not read, within its byte budget.
  virtual Result<std::unique_ptr<ChangeSetCursor>> follow(DatabaseId id, const Position& after) = 0;
  virtual Result<std::unique_ptr<SnapshotCursor>> snapshot(DatabaseId id) = 0;
  /// What snapshot() yields, for a replica of which much may be the same.
  virtual Result<std::unique_ptr<PageSource>> pages(DatabaseId id) = 0;
  /// `changed` is called, from any thread and never with a lock held that list() takes, after a database was
  /// created, renamed, dropped, had its attributes changed, or got a new change set. It must not block.
  /// An empty function takes the listener away; when that returns, the old one no longer runs.
  virtual void listen(std::function<void(DatabaseId)> changed) = 0;
};

/// A replica's databases, for the subscriber. Calls for one database come one after the other, from stream
/// workers (which may block on disk, but never use the mount).
class Sink {
 public:
  virtual ~Sink() = default;
  /// Complete databases only: one whose first snapshot was interrupted is not listed.
  virtual std::vector<DatabaseState> list() = 0;
  /// The database exists on the primary under this name with these attributes: rename it here if it differs.
  /// A database that is not here yet is only noted; it appears when its first snapshot is complete.
  virtual Result<void> announce(const DatabaseInfo& info) = 0;
  /// The primary does not have it: it was dropped, or, if `unknown`, it may have been lost there, and what is
  /// here is kept aside.
  virtual Result<void> drop(DatabaseId id, bool unknown) = 0;

  /// A snapshot follows, replacing what is here of this database, which is kept until the snapshot is
  /// complete, and parked unless it is sure to be in the primary's history. Any unfinished earlier one is
  /// forgotten. `page_count`: for progress only.
  virtual Result<void> begin_snapshot(const DatabaseInfo& info, const Position& start,
                                      std::uint32_t page_size, Pgno page_count, History history) = 0;
  /// As begin_snapshot, but of what is here only the pages that are different follow. kUnsupported if there
  /// is nothing that could be the same (not here, another page size): then a whole one is needed.
  virtual Result<void> begin_difference(const DatabaseInfo& info, const Position& start,
                                        std::uint32_t page_size, History history) = 0;
  /// What the snapshot by difference has of these pages: their checksums, 0 for one that is not here. Takes
  /// over from the old content what it has not yet looked at: those must begin where the last ones ended, or
  /// it is kInvalid.
  virtual Result<std::vector<std::uint64_t>> page_sums(DatabaseId id, Pgno first, std::uint32_t count) = 0;
  virtual Result<void> snapshot_page(DatabaseId id, Pgno pgno, Bytes page) = 0;
  /// All pages are here; the content is exact once change sets have led to `end`.
  virtual Result<void> end_snapshot(DatabaseId id, const Position& end) = 0;

  /// Verifies one whole change set, appends it to the local log and hands it on to be applied. Returns the
  /// new logged position. kPositionMismatch when it does not follow the local position, kCorrupt when it does
  /// not verify: the subscriber then asks for a snapshot. kNoSpace: the subscriber waits and tries again.
  /// As any other call for a database, it may return kBusy while the database is being made: the same again,
  /// in a moment. kClosed, as from end_snapshot: nothing can be taken before the next start, nor is asked
  /// for. `image` is either in memory or in a file (large ones), named by its path.
  struct Image {
    Bytes bytes;            ///< whole image, when file_path is empty
    std::string file_path;  ///< else here
  };
  virtual Result<void> change_set(DatabaseId id, const ChangeSetInfo& info, const Image& image) = 0;

  /// Where unfinished large images are put: a directory on the data directory's file system, emptied at
  /// start.
  virtual std::string spool_directory() const = 0;

  struct Progress {
    DatabaseId id;
    Position logged;
    Position applied;
  };
  /// `progressed` is called, from any thread, after a database was logged to or applied to, the completion
  /// of a snapshot included. What list() says before the first call is taken to be applied. It must not
  /// block. An empty function takes the listener away; when that returns, the old one no longer runs.
  virtual void listen(std::function<void(const Progress&)> progressed) = 0;
};

}  // namespace rillfs::stream
