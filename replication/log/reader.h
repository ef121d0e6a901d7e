// Reads a log's records in order, beside the writer and without its help: for publishers, and for replay.
//
// A reader opens its own files, so it may live in another thread and descriptor table than the writer. What
// it may look at is said by `published`, the last txid that has been told to anybody: records beyond may
// still be half-written or taken back. While it holds a segment open retention may delete the file; the
// reader finishes that segment, and finds out at the next one.
//
// Threads: one at a time, of the descriptor table that opened it. Errors: kNotInLog when what comes next is
// not there (any more): the follower needs a snapshot. Images are given as they are; whoever uses them
// decodes them, and so verifies them.
#pragma once

#include <memory>
#include <string>

#include "replication/base/byte_stream.h"
#include "replication/base/file_system.h"
#include "replication/log/segment.h"

namespace rillfs::log {

/// One record's image. The reader must stay at this record.
class ImageSource final : public ByteSource {
 public:
  ImageSource(File& file, std::uint64_t offset, std::uint64_t size, Label label)
      : file_(file, offset, size, label) {}
  /// One that is in memory.
  ImageSource(File& file, Bytes image, Label label) : memory_(image), file_(file, 0, 0, label) {}
  Result<std::size_t> read(MutableBytes into) override {
    RILL_ASSIGN(const std::size_t size, memory_.read(into));
    return size != 0 ? size : file_.read(into);
  }

 private:
  BufferSource memory_{Bytes()};
  FileSource file_;
};

class LogReader {
 public:
  /// A reader whose first record is the one after `after`. Transaction 0 with the empty checksum: from the
  /// very beginning, or from the snapshot that the log begins with. kNotInLog if the log does not reach back
  /// to that position, kPositionMismatch if it does, or ends before it, and does not contain it. Cost: the
  /// listing of the directory and one small read for each record of one segment.
  static Result<LogReader> open(FileSystem& files, std::string directory, DatabaseId id,
                                const Position& after);

  /// Moves to the next record; nothing when all up to `published` has been read.
  Result<std::optional<RecordInfo>> next(Txid published);
  /// The next bytes of the current record's image; 0 at its end.
  Result<std::size_t> read(MutableBytes into);
  /// The current image from its first byte; as long as the reader stays at this record.
  ImageSource source() const;

  /// After the current record.
  const Position& position() const { return position_; }

 private:
  LogReader(FileSystem& files, std::string directory, DatabaseId id)
      : files_(&files), directory_(std::move(directory)), id_(id) {}

  Result<void> open_segment(Txid first);
  /// The record at offset_; nothing at the end of the segment; kCorrupt if it is not intact. All up to
  /// `published` are complete.
  Result<std::optional<RecordInfo>> peek(Txid published);
  /// Makes bytes from offset_ on available in memory, as many as are worth reading at once.
  Result<Bytes> read_ahead(Txid published);
  Bytes ahead(std::uint64_t offset) const;
  Result<void> seek(const Position& after);
  Error not_in_log(const char* why) const;
  Error diverged(const char* why) const;

  FileSystem* files_;
  std::string directory_;
  DatabaseId id_;
  std::unique_ptr<File> file_;
  std::uint64_t offset_ = 0;        ///< of the next record
  bool at_start_ = false;           ///< nothing read: a snapshot may come whatever the position is
  Position position_;               ///< after the current record
  std::uint64_t image_offset_ = 0;  ///< of the current image
  std::uint64_t image_size_ = 0;    ///< bytes; 0 before the first record
  std::uint64_t image_read_ = 0;    ///< by read()
  // Read ahead: of the segment from ahead_offset_ on. Good for records that were published when it was read;
  // what is behind them may have been half-written then.
  Buffer ahead_;
  std::uint64_t ahead_offset_ = 0;
  Txid ahead_published_;
};

/// A reader after `after`, or, when a snapshot has since replaced the log, one that begins with the snapshot.
Result<LogReader> open_reader(FileSystem& files, std::string directory, DatabaseId id, const Position& after);

}  // namespace rillfs::log
