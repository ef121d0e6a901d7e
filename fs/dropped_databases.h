// dbs/dropped: the ids of databases that a primary has dropped, so that it can tell a replica that has been
// away "this one was dropped" from "of this one I know nothing". The latter it may have lost itself, and
// replicas keep theirs aside.
//
// One id a line, 16 hex digits. Written without waiting for the disk: an id that a power cut takes back only
// means that a replica keeps a copy too many.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>

#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/mutex.h"
#include "replication/base/types.h"

namespace rillfs {

/// Threads: any.
class DroppedDatabases {
 public:
  /// The newest that are remembered; the file has at most twice as many.
  static constexpr std::size_t kRemembered = 65536;

  DroppedDatabases(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  /// What an earlier run has written; what cannot be read is as if it had not been.
  Result<void> load();
  /// If it cannot be written down, it is known until the next start.
  Result<void> add(DatabaseId id);
  bool contains(DatabaseId id) const;

 private:
  FileSystem& files_;
  const std::string path_;
  mutable Mutex mutex_;
  std::unordered_set<std::uint64_t> ids_ RILL_GUARDED_BY(mutex_);
  std::uint64_t size_ RILL_GUARDED_BY(mutex_) = 0;  ///< bytes of the file
};

}  // namespace rillfs
