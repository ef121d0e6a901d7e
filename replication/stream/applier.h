// What arrives of one database, put together and handed to the sink.
//
// States: *waiting* (only a snapshot helps: everything else is passed over), *snapshot* (pages), *following*
// (change sets, each collected from its chunks: in memory up to a limit, beyond in a spool file).
//
// Threads: one call at a time, on a worker.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "replication/base/file_system.h"
#include "replication/stream/databases.h"
#include "replication/wire/frame.h"

namespace rillfs::stream {

enum class Verdict {
  kDone,
  kRetry,     ///< no room, or busy: the same frame again, later
  kResync,    ///< does not fit what is here: a snapshot is needed; until it comes the applier passes over
  kFailed,    ///< a name could not be given or a database not dropped; the stream goes on
  kClosed,    ///< takes nothing until the next start, not a snapshot either: all is passed over
  kProtocol,  ///< the peer broke the protocol: the session must end
};

struct Outcome {
  Verdict verdict = Verdict::kDone;
  Error error;  ///< unless kDone
  std::optional<Buffer>
      answer;  ///< to a question about sums, when it is kDone; empty: there is nothing to compare
};

class Applier {
 public:
  /// `complete`: the sink has the database, so change sets can follow without a snapshot.
  Applier(Sink& sink, FileSystem& files, DatabaseId id, bool complete, std::size_t image_memory_max);
  ~Applier();

  /// Handles one message about this database. After kRetry it must be called with the same frame.
  Outcome process(const wire::Frame& frame);
  /// A snapshot by difference has been begun, and its content has not been found exact: the next one is
  /// whole, so that what is wrong here cannot be met again and again.
  bool needs_whole() const { return by_difference_; }
  /// The last snapshot that was begun, if any, was taken, and its content has been found exact.
  bool is_exact() const { return state_ == State::kFollowing && !end_; }

 private:
  enum class State { kWaiting, kSnapshot, kFollowing };

  Outcome announce(const wire::Announce& announce);
  Outcome drop(const wire::Drop& drop);
  Outcome begin_snapshot(const wire::SnapshotBegin& begin);
  Outcome answer(const wire::SumsWanted& wanted);
  Outcome pages(const wire::SnapshotPages& pages, Bytes payload);
  Outcome end_snapshot(const wire::SnapshotEnd& end);
  Outcome begin_change_set(const wire::ChangeSet& change_set);
  Outcome chunk(Bytes payload);
  void reached(const Position& position);
  Result<void> collect(Bytes payload);
  void abandon_image();
  Outcome judge(Error error);

  Sink& sink_;
  FileSystem& files_;
  const DatabaseId id_;
  const std::size_t image_memory_max_;
  State state_;
  std::optional<DatabaseInfo> info_;

  /// Of what is here, if a snapshot could not be begun: the primary takes it for taken, and the next one's
  /// history for shared.
  std::optional<History> untaken_;
  bool by_difference_ = false;   // the present snapshot, until its content is exact
  bool has_nothing_ = false;     // to compare with, and the primary has not been told
  Position start_;               // of the present snapshot
  std::optional<Position> end_;  // of the present snapshot, once it is known and until it is reached
  std::uint32_t page_size_ = 0;
  std::size_t pages_done_ = 0;  // of the present batch, before a retry

  std::optional<ChangeSetInfo> change_set_;  // being collected
  std::uint64_t collected_ = 0;              // bytes of its image
  Buffer memory_;
  std::string spool_path_;  // empty: in memory
  std::unique_ptr<File> spool_;
};

}  // namespace rillfs::stream
