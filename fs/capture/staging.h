// Uncommitted pages of a rollback-journal transaction, kept away from the database file.
//
// Writes land in an unnamed file at the same offsets as in the database; a bit per sector says which bytes
// are there. Memory is bounded by the bitmap: 1 bit for each 512 bytes up to the highest offset written.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

/// Offsets and sizes in bytes. Threads: one at a time (the database's mutex).
class Staging {
 public:
  static constexpr std::uint32_t kSector = 512;

  bool empty() const { return !size_ && sectors_.empty(); }
  /// Size of the database as the open transaction sees it, if it has changed it.
  std::optional<std::uint64_t> size() const { return size_; }

  /// Takes bytes over. Where they do not fill a sector, the rest of it comes from `below`, the database file.
  /// Needs no room for bytes that are what `read` gives already.
  Result<void> write(FileSystem& files, const std::string& directory, File& below, Bytes bytes,
                     std::uint64_t offset);
  /// Cuts or extends; cut bytes read as zeros if the file grows again. Needs no room.
  Result<void> resize(File& below, std::uint64_t size);
  /// Reads as the transaction sees the file: staged bytes, else those of `below`; fewer only at the end.
  Result<std::size_t> read(File& below, MutableBytes into, std::uint64_t offset) const;
  /// Some byte of it is staged, or cut off: what `below` has there does not count.
  bool overlaps(std::uint64_t offset, std::uint64_t size) const;
  /// The pages that have any staged byte, ascending.
  std::vector<Pgno> pages(std::uint32_t page_size) const;
  /// Copies every staged byte below `size` into `below` and sets its size. What makes `below` longer comes
  /// first: if there is no room for it, `below` is as before (`*untouched`).
  Result<void> copy_to(File& below, std::uint64_t size, bool* untouched) const;
  /// Forgets what is staged of these bytes. Both are multiples of a sector.
  void forget(std::uint64_t offset, std::uint64_t size);
  /// Forgets that the size has been changed.
  void forget_size();
  /// Forgets everything.
  void clear();

 private:
  bool has(std::uint64_t sector) const;
  void mark(std::uint64_t sector);
  /// kNoSpace unless the commit will find room for these bytes, too.
  Result<void> require_room(FileSystem& files, const std::string& directory, std::uint64_t offset,
                            std::uint64_t size) const;
  /// Behind the last staged sector, rounded up.
  std::uint64_t sector_end() const { return sectors_.empty() ? 0 : (sectors_.rbegin()->first + 1) * 64; }
  Result<void> stage(FileSystem& files, const std::string& directory, File& below, Bytes bytes,
                     std::uint64_t offset);
  bool holds(File& below, Bytes bytes, std::uint64_t offset) const;
  Result<void> require_file(FileSystem& files, const std::string& directory);
  /// Makes `sector` whole, with its content from `below`.
  Result<void> fill(File& below, std::uint64_t sector);
  std::uint64_t present_size(File& below) const;
  Result<void> copy_sectors(File& below, std::uint64_t from, std::uint64_t to, std::uint64_t size) const;

  std::unique_ptr<File> file_;
  /// Bitmap, 64 sectors a word. Words without a bit may be absent: an application can write anywhere.
  std::map<std::uint64_t, std::uint64_t> sectors_;
  std::uint64_t marked_ = 0;  ///< sectors in it; those that were cut off may still count
  std::optional<std::uint64_t> size_;
  /// Bytes of `below` at or beyond this offset are cut off, even if the size has grown again.
  std::uint64_t below_limit_ = UINT64_MAX;
};

}  // namespace rillfs
