// Named steps at which a test ends the process, or has a call fail. Only in builds with RILLFS_FAILPOINTS; in
// others every function here is empty.
//
//   RILLFS_FAILPOINT=NAME[@LABEL][:N[-M]]          SIGKILL of the own process
//   RILLFS_FAILPOINT=NAME[@LABEL][:N[-M]]=ACTION   eio, enospc, edquot: what is attempted fails so;
//                                                  short: half of it is written, then there is no room;
//                                                  trace: it is reported on stderr and goes on
//
// N and M count how often the step is reached: from the N-th time (the first without) to the M-th (N
// without). LABEL (file_system.h) narrows the steps `file.*` down to the accesses that belong to one purpose.
//
// The environment is read once, before main. After that nothing changes but the count. A step that is not the
// chosen one costs one comparison.
#pragma once

#include <cstddef>
#include <string_view>

#include "replication/base/error.h"

namespace rillfs::failpoint {

/// All there are; `rillfs failpoints` prints them. tests/cluster/test_failpoints.py has a case for each.
inline constexpr std::string_view kNames[] = {
    // Every access to the data directory that changes it (file_system.cc): these can fail, too.
    "file.create", "file.write", "file.truncate", "file.sync", "file.rename", "file.remove",
    "file.make_directory", "file.sync_directory",
    // The log.
    "log.append.before_write", "log.append.after_write", "log.append.after_zeroes", "log.stream.after_write",
    "log.stream.before_envelope", "log.stream.after_envelope", "log.sync.before", "log.sync.after",
    "log.roll.before_segment", "log.roll.before_directory_sync", "log.roll.after_segment",
    "log.retain.before_unlink", "log.retain.after_unlink", "log.reset.before_rename",
    "log.reset.after_rename", "log.reset.after_unlink", "log.reset.before_last_rename", "log.reset.after",
    // A commit in WAL mode; checkpoints.
    "wal.frames.before_write", "wal.frames.after_write", "wal.commit.before_log", "wal.commit.before_frame",
    "wal.commit.before_publish", "wal.commit.before_answer", "wal.sync.before_log", "wal.sync.before_answer",
    "tail.commit.before", "wal.reset.before_header", "wal.truncate.before_answer", "wal.remove.before_answer",
    "checkpoint.before_write", "checkpoint.after_write", "checkpoint.before_sync", "checkpoint.after_sync",
    // A commit with a rollback journal.
    "journal.hot.before_answer", "journal.stage.before_answer", "journal.commit.before_log",
    "journal.commit.before_sync", "journal.commit.before_copy", "journal.commit.between_copies",
    "journal.commit.after_copy", "journal.commit.before_end", "journal.commit.before_answer",
    // A database's first change set; content without a transaction; the replay base.
    "create.before_directory", "create.before_info", "create.before_base", "create.before_log",
    "create.before_sync", "unlogged.before_mark", "unlogged.after_mark", "reconcile.before_log",
    "reconcile.before_sync", "reconcile.before_unmark", "base.before_log_sync", "base.before_file_sync",
    "base.before_sums", "base.before_record", "base.before_stale_sums",
    // Names; transactions over several databases.
    "rename.before_record", "rename.before_rename", "rename.after_rename", "rename.after_names",
    "rename.after_info", "rename.after_replaced", "attached.before_record", "attached.after_record",
    "attached.between_members", "attached.before_unlink", "attached.after_unlink",
    "attached.between_finishes", "attached.before_removal", "drop.before_note", "drop.after_note",
    "drop.after_move",
    // A replica.
    "receive.before_log", "receive.after_log", "apply.wal.before_frames", "apply.wal.after_frames",
    "apply.wal.before_publish", "apply.wal.after_publish", "apply.wal.after_restart",
    "apply.wal.before_checkpoint", "apply.wal.after_checkpoint", "apply.wal.before_open",
    "apply.wal.before_close", "apply.wal.after_close", "apply.file.before_page", "apply.file.before_truncate",
    "apply.file.after_truncate", "apply.before_position", "apply.after_position", "apply.rename.before",
    "apply.rename.before_companions", "apply.rename.after", "apply.remove.before_unlink",
    "apply.remove.after_unlink",
    // Snapshots.
    "snapshot.begun", "snapshot.after_page", "snapshot.before_sync", "difference.after_copy",
    "resync.before_log", "resync.after_log", "install.before_mark", "install.after_mark",
    "install.after_info", "install.after_base", "install.before_place", "install.before_rename",
    "install.after_rename", "install.after_unmark", "park.before_copy", "park.before_replay",
    "park.before_rename", "park.after_rename",
    // Start and stop.
    "recovery.begun", "recovery.before_wal", "recovery.after_wal", "recovery.before_database",
    "recovery.before_replay", "recovery.before_page", "recovery.after_record", "recovery.before_sync",
    "recovery.before_base", "recovery.after_base", "recovery.before_take_back", "recovery.after_take_back",
    "recovery.before_companions", "recovery.between_companions", "recovery.after_companions", "recovery.done",
    "close.before_write_back", "close.after_write_back", "close.before_companions"};

/// One of them. A name that is not in the list does not compile.
class Step {
 public:
  consteval Step(const char* name) : number_(find(name)) {}  // NOLINT: a name is a step
  constexpr std::size_t number() const { return number_; }

 private:
  static consteval std::size_t find(std::string_view name) {
    std::size_t number = 0;
    while (kNames[number] != name) ++number;
    return number + 1;
  }
  std::size_t number_;  ///< from 1
};

#ifdef RILLFS_FAILPOINTS

inline constexpr bool kThere = true;

namespace detail {
extern const std::size_t chosen;  ///< number of the step; 0 for none
void reached();
Result<void> attempted(std::string_view label);
}  // namespace detail

/// Ends the process here if the environment says so.
inline void reach(Step step) {
  if (step.number() == detail::chosen) [[unlikely]]
    detail::reached();
}

/// The same, or the error that the call behind it is to have.
inline Result<void> attempt(Step step, std::string_view label) {
  if (step.number() == detail::chosen) [[unlikely]]
    return detail::attempted(label);
  return {};
}

/// A write that fails has written half of its bytes before.
bool writes_half();

#else

inline constexpr bool kThere = false;
inline void reach(Step) {}
inline Result<void> attempt(Step, std::string_view) { return {}; }
inline bool writes_half() { return false; }

#endif

}  // namespace rillfs::failpoint
