// Makes change sets visible in a database that is in rollback-journal mode, or that no application has open:
// by writing its pages under SQLite's own locks.
//
// SQLite's order (lock bytes: fs/sqlite/lock_bytes.h): SHARED, taken while PENDING is held for reading;
// RESERVED, which announces a writer; PENDING, which keeps new readers out; EXCLUSIVE, the whole SHARED range
// for writing, when the last reader has left. Readers see the database before or after, never in between.
//
// There is no journal: a change set that was half written is written again from the log. Until that has
// happened in the same process, the EXCLUSIVE lock stays, so that nobody reads the half.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "fs/apply/descriptor.h"
#include "fs/apply/ofd_lock.h"
#include "fs/apply/page_source.h"
#include "replication/base/clock.h"

namespace rillfs::apply {

struct RollbackWriterOptions {
  /// How long a call may wait for SQLite locks in all.
  Duration lock_wait = std::chrono::seconds(5);
  /// How long one attempt keeps new readers out while it waits for the present ones to leave.
  Duration pending_wait = std::chrono::milliseconds(200);
};

/// Threads: one at a time, one that may use the mount. No sqlite3* connection of this process may have the
/// database open: closing our descriptor would drop its locks.
class RollbackWriter {
 public:
  /// Opens an existing file, which may be empty. `clock` must outlive the writer.
  static Result<std::unique_ptr<RollbackWriter>> open(const std::string& path,
                                                      const RollbackWriterOptions& options,
                                                      const Clock& clock);

  /// Writes one change set, after which the file has `commit` pages of `page_size` bytes. Nothing is synced.
  ///
  /// Nothing was written: kBusy, when an application kept a lock for too long (it is named in the message and
  /// in `blocked_by`); kInvalid, when a WAL with content is there (WalAppender is for that), a hot journal,
  /// or when the file was replaced. Part of it may have been written, and the database stays locked until a
  /// later call succeeds: kIo, kNoSpace, kCorrupt (the pages are no change set).
  Result<void> write(PageSource& pages, Pgno commit, std::uint32_t page_size);

  /// Keeps RESERVED between writes, so that applications that write get SQLITE_BUSY and go on waiting until
  /// it is given up, while readers read. Waits for a writer that is at it. Idempotent.
  Result<void> hold_reserved(bool hold);

  /// Makes everything written so far durable.
  Result<void> sync();

  /// Who was in the way when the last call returned kBusy.
  std::optional<LockHolder> blocked_by() const { return blocked_by_; }
  /// A change set was half written: the database is locked until the next one succeeds.
  bool is_half_written() const { return half_written_; }

 private:
  RollbackWriter(std::string path, Descriptor file, const RollbackWriterOptions& options, const Clock& clock)
      : path_(std::move(path)), file_(std::move(file)), options_(options), clock_(clock) {}

  Result<void> lock_exclusive(Monotonic deadline);
  Result<bool> try_exclusive(Monotonic deadline);
  Result<bool> take(OfdLock& lock, LockRange range, LockMode mode);
  Result<bool> wait_for_readers(Monotonic deadline);
  void release();
  Error busy() const;
  Result<void> check_companions() const;
  Result<void> write_pages(PageSource& pages, Pgno commit, std::uint32_t page_size);

  const std::string path_;
  const Descriptor file_;
  FileIdentity identity_;
  const RollbackWriterOptions options_;
  const Clock& clock_;
  OfdLock pending_;
  OfdLock reserved_;
  OfdLock shared_;  // exclusive when `lock_exclusive` succeeded
  bool hold_ = false;
  bool half_written_ = false;
  std::optional<LockHolder> blocked_by_;
};

}  // namespace rillfs::apply
