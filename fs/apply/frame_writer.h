// Writes the frames of one transaction behind the last committed one, in chunks of bounded size.
//
// Whole pages of the kernel's cache are written: those that frames begin or end in with what is before, and
// with zeroes behind. A page of a file in the mount that is written in part is not cached, and ends a
// request: a frame would cost two of them, and each reader another one.
//
// Nothing of it is visible to readers before the owner publishes the header that `finish` returns; if that
// never happens, the next transaction overwrites the frames. That is SQLite's own rule for abandoned frames.
#pragma once

#include <cstdint>
#include <vector>

#include "fs/apply/descriptor.h"
#include "fs/apply/page_source.h"
#include "fs/apply/shared_index.h"
#include "fs/sqlite/wal.h"

namespace rillfs::apply {

/// Needs WAL_WRITE_LOCK from construction until after the header is published. Threads: one.
class FrameWriter {
 public:
  /// Frames follow those of `last`. `buffer` is scratch space that the owner keeps from one transaction to
  /// the next.
  FrameWriter(const Descriptor& wal, SharedIndex& index, const sqlite::WalIndexHeader& last, Buffer& buffer);

  /// Begins a new generation with this WAL header; only before the first frame, and when `last` has none.
  void begin_generation(sqlite::WalHeader header);
  Result<void> add(const Page& page);
  /// Completes the last frame added as the commit frame, and writes what is left.
  Result<sqlite::WalIndexHeader> finish(Pgno commit);

 private:
  void seal_last_frame(Pgno commit);
  Result<void> read_what_is_before();
  Result<void> flush();

  const Descriptor& wal_;
  SharedIndex& index_;
  sqlite::WalIndexHeader header_;  // max_frame and frame_checksum advance with each sealed frame
  Buffer& buffer_;                 // bytes from buffer_offset_, where a page begins, in the file on
  std::uint64_t buffer_offset_ = 0;
  std::size_t before_ = 0;       // of these, not read yet: the end of the last frame
  std::vector<Pgno> unwritten_;  // pages of the frames in buffer_; the last one has no header yet
  bool open_ = false;            // whether it has none
};

}  // namespace rillfs::apply
