// The durable log of one database, the side that writes: append-only segments of change sets (segment.h).
//
// A record is in the log when append() (or Appender::commit) returns, and survives a crash of the daemon from
// then on; it survives a power cut when a sync() called afterwards returns. Only the last segment ever holds
// bytes that are not durable.
//
// Failures. kNoSpace: the partial record is cut off again, the log stays usable. Any other failed write, a
// failed truncate and a failed sync poison the log: what is on disk is no longer known, so everything that
// writes fails with that same error until the log is opened again. A sync is never retried; one that met no
// room can be mended, by writing again all that it may have lost.
//
// Threads. append, begin, reset, mend, cut_last, retain: serialised by the owner. sync and the getters: any
// thread of the descriptor table that opened the log. One mutex, never held across a disk access by sync(),
// nor while calling anything else.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <span>
#include <string>

#include "replication/base/byte_stream.h"
#include "replication/base/clock.h"
#include "replication/base/file_system.h"
#include "replication/base/mutex.h"
#include "replication/log/scan.h"
#include "replication/log/segment.h"

namespace rillfs::log {

struct LogOptions {
  std::uint64_t segment_size_max = 64 << 20;  ///< bytes; a segment that has reached it gets no more records
  std::uint64_t retain_bytes = 256 << 20;     ///< retention budget, bytes on disk
  std::int64_t retain_time_ms = 24 * 3600 * 1000;
  /// Zeroes are written ahead of the records, so that most syncs find neither a new block nor a new size to
  /// make durable: on ext4 they then need no commit of its journal. Bytes at most; never more than there are
  /// records in the segment. 0: none.
  std::uint64_t zeroes_ahead = 256 << 10;
};

/// A reader needs what comes after `after`.
struct Pin {
  static constexpr std::uint64_t kWhateverItTakes = UINT64_MAX;
  Txid after;
  std::uint64_t beyond_budget = 0;  ///< bytes by which the log may exceed its budget for it
};

class Appender;
struct Opened;

class Log {
 public:
  /// Opens the log in `directory`, which is created if need be; an empty one begins at `start_if_empty`.
  /// A torn tail is cut off. Afterwards everything in the log is durable. Records after `verify_from` are
  /// decoded, the others trusted. kCorrupt (saying where, and what to do; nothing is changed) for damage that
  /// is not a torn tail. `files` and `clock` must outlive the log.
  static Result<Opened> open(FileSystem& files, Clock& clock, std::string directory, DatabaseId id,
                             const LogState& start_if_empty, LogOptions options, Txid verify_from);

  /// Ends the last segment with its last record.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  /// Appends a change set with one write. kPositionMismatch if it does not follow the end of the log,
  /// kInvalid if it is a snapshot (see reset) or the image is not what the record says.
  Result<RecordInfo> append(const NewRecord& record, Bytes image);
  /// The same for an image of unknown length, streamed. Nothing else may be appended until the Appender is
  /// gone, and it must be gone before the log.
  Result<Appender> begin(const NewRecord& record);
  /// Starts the log anew with a snapshot record, which may have any txid; at the appender's commit it
  /// replaces all that is in the log, at once even for a crash, and is durable. Until then the old log stays
  /// as it is.
  Result<Appender> reset(const NewRecord& snapshot);
  /// Takes back the last record, which nobody was told about. Only once after each append or after open; not
  /// after reset, nor after an append that failed. If power fails before the next sync() the record may be
  /// there again. Also where a failed sync of it has poisoned the log, which stays so.
  Result<void> cut_last();

  /// When this returns, everything appended before the call is durable. Callers that wait at the same time
  /// share one fdatasync; nothing is done if nothing is new.
  Result<void> sync();

  /// Where a sync has failed for want of room: writes again what was appended since the last one that did not
  /// fail, if it can still be read as it was, and syncs that. Then the log is as good as before. Nothing if
  /// the log is not poisoned; kNoSpace while there is no room; else the log stays as it is.
  Result<void> mend();
  /// It is poisoned, and mend() may help.
  bool can_be_mended() const;

  /// Removes the oldest segments, as long as their records are all <= `keep_after` and they are beyond the
  /// byte or the time budget. What a reader needs stays, but only up to the byte budget and what the reader
  /// may have beyond it. Never the segment being written.
  Result<void> retain(Txid keep_after, std::span<const Pin> pins = {});

  LogState end() const;
  /// First txid in the log; one more than the end's if there is no record.
  Txid first_txid() const;
  std::uint64_t bytes_on_disk() const;
  /// Highest txid known to survive a power cut.
  Txid synced_txid() const;
  DatabaseId id() const { return id_; }
  const std::string& directory() const { return directory_; }

 private:
  friend class Appender;

  Log(FileSystem& files, Clock& clock, std::string directory, DatabaseId id, LogOptions options);

  Result<void> load(const LogState& start_if_empty, Txid verify_from, std::uint64_t& torn_bytes);
  Result<void> finish_reset();
  Result<std::shared_ptr<File>> create_segment(const std::string& path, const LogState& start);
  Result<void> start_segment(const LogState& start);
  Result<void> prepare(const NewRecord& record);
  /// After a record that ends at `end`. Nothing depends on it: what fails is left for the next segment.
  void write_zeroes_ahead(File& file, std::uint64_t end);
  /// Takes the zeroes away: only the last segment of an open log has them.
  Result<void> end_at_the_last_record();
  /// Where the next record goes.
  struct Tail {
    std::shared_ptr<File> file;
    std::uint64_t offset = 0;
    LogState end;
  };
  Tail tail() const RILL_EXCLUDES(mutex_);
  Result<void> roll();
  Result<void> replace_all(std::shared_ptr<File> file, const RecordInfo& record);
  RecordInfo complete(const NewRecord& record, const LogState& before, std::uint64_t image_size,
                      Checksum image_checksum) const;
  void appended(const RecordInfo& record) RILL_EXCLUDES(mutex_);
  /// Until the sync that is under way has ended.
  void wait_for_sync() RILL_REQUIRES(mutex_);
  /// Cuts the current segment back to what is appended, after `cause`; poisons if that was an I/O error.
  Error clean_up(Error cause) RILL_EXCLUDES(mutex_);
  Error poison(Error cause) RILL_EXCLUDES(mutex_);
  void poison_locked(const Error& cause) RILL_REQUIRES(mutex_);
  /// Bytes of the last segment, and the log's end, as of the last sync that did not fail.
  struct Synced {
    std::uint64_t size = 0;
    LogState end;
  };
  Result<void> write_again(File& file, const Synced& from, std::uint64_t size, const LogState& end);
  std::string path_of(Txid first) const;

  FileSystem& files_;
  Clock& clock_;
  const std::string directory_;
  const DatabaseId id_;
  const LogOptions options_;

  // Used by the serialised calls only.
  Buffer buffer_;
  std::optional<Undo> undo_;
  bool appending_ = false;
  std::uint64_t zeroes_end_ =
      0;                    ///< of the last segment's file, bytes, if there are zeroes behind its records
  bool zeroes_fit_ = true;  ///< into what room there is; asked again for the next segment

  std::atomic<int> syncs_{0};  // done so far; what waits for one waits on it (why: worker_pool.h)
  mutable Mutex mutex_;        // what it guards is written by the serialised calls and sync()
  std::shared_ptr<File> file_ RILL_GUARDED_BY(mutex_);  ///< the last segment
  std::deque<SegmentInfo> segments_ RILL_GUARDED_BY(mutex_);
  LogState end_ RILL_GUARDED_BY(mutex_);
  std::uint64_t changes_ RILL_GUARDED_BY(mutex_) = 0;         ///< appends and cuts so far
  std::uint64_t changes_synced_ RILL_GUARDED_BY(mutex_) = 0;  ///< of these, known durable
  Txid synced_txid_ RILL_GUARDED_BY(mutex_);
  bool syncing_ RILL_GUARDED_BY(mutex_) = false;
  Synced synced_ RILL_GUARDED_BY(mutex_);
  std::optional<Error> poisoned_ RILL_GUARDED_BY(mutex_);
  bool can_be_mended_ RILL_GUARDED_BY(mutex_) = false;
};

struct Opened {
  std::unique_ptr<Log> log;
  std::uint64_t torn_bytes = 0;  ///< cut off the end
};

/// Streams one image into the log. Not committed: taken back by abort() or the destructor.
class Appender final : public ByteSink {
 public:
  Appender(Appender&& other) noexcept;
  Appender& operator=(Appender&&) = delete;
  ~Appender() override;

  Result<void> write(Bytes bytes) override;
  /// What is only known at the end of an image. Before commit().
  void set_post(Checksum post, const ContentHash& hash) { record_.post = post, record_.hash = hash; }
  /// Makes what has been written so far durable, so that the commit of a reset has little to wait for. Like
  /// write(), not one of the calls that the log's owner has to serialise when it is a reset.
  Result<void> sync();
  /// The image is complete: the record is in the log.
  Result<RecordInfo> commit();
  void abort();

 private:
  friend class Log;
  Appender(Log& log, const NewRecord& record, std::shared_ptr<File> file, std::uint64_t offset,
           const LogState& before, bool resets);
  Result<void> flush();
  Result<RecordInfo> write_rest();

  Log* log_;  ///< null when there is nothing to abort
  NewRecord record_;
  std::shared_ptr<File> file_;
  std::uint64_t offset_;  ///< of the record in the segment
  LogState before_;
  bool resets_;
  Buffer buffer_;
  std::uint64_t flushed_ = 0;  ///< bytes of the image in the file
  std::optional<Error> failed_;
};

}  // namespace rillfs::log
