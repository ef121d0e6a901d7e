// A database on its way in: the pages of a fuzzy snapshot, then the change sets that make it exact.
//
// Nothing of it is visible: the file lies in the spool directory, where the next start removes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/content.h"
#include "fs/environment.h"
#include "fs/page_sums.h"
#include "replication/stream/databases.h"

namespace rillfs {

/// Threads: one at a time.
class SnapshotReceiver {
 public:
  static Result<std::unique_ptr<SnapshotReceiver>> begin(Environment& environment,
                                                         const stream::DatabaseInfo& info,
                                                         const Position& start, std::uint32_t page_size);
  /// Removes the file, unless it was released.
  ~SnapshotReceiver();

  Result<void> page(Pgno pgno, Bytes data);
  /// All pages are here; exact once change sets have led to `end`.
  void end(const Position& end) { end_ = end; }
  /// A change set that follows the start.
  Result<void> change_set(const stream::ChangeSetInfo& info, const stream::Sink::Image& image);
  /// All pages and all change sets up to the end are here.
  bool complete() const { return end_ && position_.txid >= end_->txid; }
  /// Compares the whole content with the position's checksum and makes the file durable. kCorrupt if it
  /// differs.
  Result<void> verify();

  const stream::DatabaseInfo& info() const { return info_; }
  void set_info(const stream::DatabaseInfo& info) { info_ = info; }
  const Position& position() const { return position_; }
  std::uint32_t page_size() const { return page_size_; }
  /// As of the position; call after verify.
  Content content() const { return Content(position_, page_size_, sums_.flat()); }
  const std::string& path() const { return path_; }
  /// The caller takes the file.
  void release() { released_ = true; }

 private:
  SnapshotReceiver(Environment& environment, stream::DatabaseInfo info, Position start,
                   std::uint32_t page_size)
      : environment_(environment), info_(std::move(info)), position_(start), page_size_(page_size) {}

  Environment& environment_;
  stream::DatabaseInfo info_;
  Position position_;  ///< of the last change set
  std::uint32_t page_size_;
  PageSums sums_;
  std::optional<Position> end_;
  std::string path_;
  std::unique_ptr<File> file_;
  bool released_ = false;
};

}  // namespace rillfs
