// A database on its way in: the pages of a fuzzy snapshot, then the change sets that make it exact.
//
// One by difference begins as a copy of the pages that are here: page_sums() copies them as they are asked
// for, and says what was copied. It counts what the file held when it was read: what is older, torn or
// damaged differs from the primary's and comes from there, so nothing has to hold still meanwhile.
//
// Nothing of it is visible: the file lies in the spool directory, where the next start removes it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "fs/content.h"
#include "fs/environment.h"
#include "fs/page_sums.h"
#include "fs/run_writer.h"
#include "fs/write_behind.h"
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

  /// Makes it one by difference from the content of this file.
  Result<void> compare_with(const std::string& path);
  /// What is here of these pages; 0 for one that is not. Those never asked for before begin where the last
  /// ones ended (else kInvalid).
  Result<std::vector<std::uint64_t>> page_sums(Pgno first, std::uint32_t count);
  Result<void> page(Pgno pgno, Bytes data);
  /// All pages are here; exact once change sets have led to `end`.
  Result<void> end(const Position& end);
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
  Result<void> copy_until(Pgno end);
  Result<void> write_run(Bytes bytes, std::uint64_t offset);

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
  WriteBehind write_behind_;
  static constexpr std::size_t kRunMax = std::size_t{1} << 20;  ///< bytes
  RunWriter run_{kRunMax, [this](Bytes bytes, std::uint64_t offset) {
                   return write_run(bytes, offset);
                 }};           ///< not written yet
  std::unique_ptr<File> old_;  ///< of one by difference
  Pgno next_old_{1};           ///< the first page of it that was not copied
  bool released_ = false;
};

}  // namespace rillfs
