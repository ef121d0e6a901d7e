// Finds committed transactions in the bytes of a WAL.
//
// Frames are verified in order (salts, cumulative checksum). When the chain verifies up to a frame whose
// commit field is not zero, there is a transaction. What the scanner must cope with (design: Capture, WAL
// mode):
//   - frames of the open transaction may be written again in any order (cache spill): "verified" moves back;
//   - frames may be abandoned (rollback) and written over from the last commit on;
//   - unsealed frames: once it has written over a frame, SQLite writes the headers of further ones without
//     salts and checksum, and before it commits it seals them, from the first frame written over on. SQLite
//     3.40 forgets that a savepoint's rollback may have abandoned that frame: then frames before it stay
//     unsealed, and if the transaction ends before it, its commit frame too. Readers see such a commit
//     through the wal-index, although the chain in the file is broken. So the scanner keeps that first frame
//     in mind as SQLite does (`reseal_from_`): an unsealed commit frame before it is complete as it is, one
//     behind it waits to be sealed. Sealing continues the checksum in the header before that first frame,
//     zero or abandoned as it may be; so does what follows a transaction that ends before it;
//   - one frame may arrive in several writes, and one write may hold many frames;
//   - a writer may die in the middle of a frame. What the file held in the rest of its place from an older
//     generation can be just what was to come: pages grow at one end. Then the frame is whole, and SQLite's
//     recovery takes the transaction for committed. While the writer lives that is nobody's business; once
//     it may be dead (`left_behind`) the scanner must see what recovery will see.
//
// Costs: nothing is verified until a frame with a commit field has been seen, since before that there is
// nothing to find; then every frame is read once.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/sqlite/wal.h"
#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

/// A WAL's bytes with one write laid over them that has not been done yet.
class WalView {
 public:
  explicit WalView(File& file) : file_(file) {}
  WalView(File& file, Bytes held, std::uint64_t offset) : file_(file), held_(held), held_offset_(offset) {}
  /// Fewer bytes only where the WAL ends.
  Result<std::size_t> read(MutableBytes into, std::uint64_t offset) const;
  /// Does the write.
  Result<void> write_held(Label label) const {
    return held_.empty() ? Result<void>() : file_.write_at(held_, held_offset_, label);
  }

 private:
  File& file_;
  Bytes held_;
  std::uint64_t held_offset_ = 0;
};

/// One verified transaction: frames first..last (from 1).
struct WalTransaction {
  std::uint32_t first = 0;
  std::uint32_t last = 0;
  Pgno commit;
  std::vector<std::pair<Pgno, std::uint32_t>> pages;  ///< the last frame of each page, ascending by page
};

/// Threads: one at a time (the database's mutex).
class WalScanner {
 public:
  /// A new generation begins with this header.
  void begin(const sqlite::WalHeader& header);
  /// There is no WAL any more.
  void end();
  /// Begins anew with what the whole file has: its complete transactions are committed, open frames
  /// forgotten. Without a header in it there is no WAL.
  Result<void> scan(File& wal);
  const std::optional<sqlite::WalHeader>& header() const { return header_; }

  /// Bytes [offset, offset + size) have been written or are about to be; `view` shows the WAL with them.
  /// Returns the transaction that they complete, if they do: call `commit` when it is safe, or `refuse` it.
  Result<std::optional<WalTransaction>> written(const WalView& view, std::uint64_t offset, std::size_t size);
  /// The WAL has been cut to `size` bytes, which is at least `committed_end()`: open frames may be gone.
  void cut(std::uint64_t size);
  /// For a WAL that is written behind our back (source "tail"). Nobody says what was written, and parts of an
  /// open transaction may have been written over since they were read. Call this before `follow`, each time
  /// after a pause: it goes back to the first frame that has changed. With `thorough` the headers of all open
  /// frames are looked at, else the last one's: then what was written over before it may go unnoticed until
  /// something is written behind it. kPositionMismatch if the last committed frame is not what it was.
  Result<void> look_again(const WalView& view, bool thorough);
  /// Reads on from what is known, to the next complete transaction: call `commit` when it is safe, or
  /// `refuse` it.
  Result<std::optional<WalTransaction>> follow(const WalView& view);
  /// The page of this frame, if `follow` has just read it.
  Bytes recent_page(std::uint32_t frame) const;
  /// `follow` has stopped at a frame that is not sealed (yet).
  bool stopped_at_unsealed() const { return stopped_at_unsealed_; }
  /// Frames up to `max_frame`, with this checksum after it, are committed whatever they look like: a
  /// wal-index of this generation says so. What `follow` finds from now on counts that in.
  void trust(std::uint32_t max_frame, sqlite::WalChecksum checksum);
  /// Where the frames that have been read end; more than committed_frames() while a transaction is open.
  std::uint32_t read_frames() const { return verified_.frame; }
  /// Like `written`, with nothing new written, but counting what an older generation left in the rest of the
  /// last frame: what SQLite's recovery finds in the file as it is.
  Result<std::optional<WalTransaction>> left_behind(const WalView& view);
  /// The transaction found last is committed: it can no longer be overwritten.
  void commit(const WalTransaction& transaction);
  /// The write that would have completed it is not done: its bytes are as before.
  void refuse();

  /// Some committed frame is unsealed: a process that reads the WAL without its index would stop there.
  bool has_unsealed() const { return unsealed_committed_; }
  /// Seals the committed frames as SQLite should have. No process may have the WAL open.
  Result<void> seal(File& wal);

  std::uint32_t committed_frames() const { return committed_.frame; }
  /// Where the committed frames end, in bytes from the start of the WAL.
  std::uint64_t committed_end() const;
  /// Size of the database after the last committed frame, pages.
  Pgno size() const { return size_; }
  std::uint32_t page_size() const { return header_ ? header_->page_size : 0; }

  /// Newest committed frame of each page in this generation.
  const std::unordered_map<Pgno, std::uint32_t>& frames() const { return frames_; }
  /// Its offset in the WAL of `frame`'s page.
  std::uint64_t page_offset(std::uint32_t frame) const {
    return sqlite::frame_offset(frame, page_size()) + sqlite::kFrameHeaderSize;
  }
  /// The database file holds the newest content of this page now (a checkpoint wrote it).
  void backfilled(Pgno pgno) { waiting_.erase(pgno); }
  /// It holds another content of this page, of those that lie below the committed frames.
  void written_below(Pgno pgno) { waiting_[pgno] = frames_.at(pgno); }
  /// Every committed page has been written back to the database file.
  bool fully_backfilled() const { return waiting_.empty(); }
  std::size_t waiting_pages() const { return waiting_.size(); }
  std::vector<Pgno> waiting() const;

 private:
  struct Point {
    std::uint32_t frame = 0;       ///< the last one
    sqlite::WalChecksum checksum;  ///< what the next frame continues
  };
  void note_rewrite(std::uint64_t offset);
  Result<void> note_headers(const WalView& view, std::uint64_t offset, std::size_t size);
  void note_header(std::uint32_t frame, Bytes header);
  Result<std::optional<WalTransaction>> next_transaction(const WalView& view);
  Result<bool> verify_next(const WalView& view, sqlite::FrameHeader& header);
  Result<bool> read_next(const WalView& view, sqlite::FrameHeader& header);
  Result<bool> is_still(const WalView& view, std::uint32_t frame, sqlite::WalChecksum checksum) const;
  Result<void> go_back_over_rewritten(const WalView& view, bool thorough);
  Bytes in_ahead(std::uint32_t frame) const;
  Result<void> read_ahead(const WalView& view, std::uint32_t frame);
  bool take_frame(Bytes frame, sqlite::FrameHeader& header);
  /// The sealed frame behind `verified_` continues it; then `running` has been advanced.
  bool continues(Bytes frame, sqlite::WalChecksum& running) const;
  Result<sqlite::WalChecksum> checksum_of(const WalView& view, std::uint32_t frame) const;
  WalTransaction take(Pgno commit);

  std::optional<sqlite::WalHeader> header_;
  Point committed_;
  Point verified_;
  std::uint64_t written_to_ = 0;     ///< where the last write ended
  std::uint32_t reseal_from_ = 0;    ///< the first frame that the open transaction wrote over; 0: none
  std::uint32_t unsealed_last_ = 0;  ///< a commit frame that will not be sealed; 0: none
  /// Nothing beyond has been written in this generation: what the file has there is an older one's.
  std::uint64_t reach_ = 0;
  bool unsealed_open_ = false;                  ///< some frame of committed_+1 .. verified_ is unsealed
  bool unsealed_committed_ = false;             ///< some frame up to committed_ is
  bool ends_unsealed_ = false;                  ///< the frame verified_ is
  bool committed_ends_unsealed_ = false;        ///< the frame committed_ is
  std::vector<Pgno> open_;                      ///< pages of the frames committed_+1 .. verified_
  std::vector<sqlite::WalChecksum> open_sums_;  ///< `follow`: the checksums in their headers
  Point trusted_;                               ///< `follow`: committed for certain, from a wal-index
  bool stopped_at_unsealed_ = false;
  bool read_before_pause_ = false;  ///< some of `open_` was
  Buffer ahead_;                    ///< frames as they were in the file since the last pause
  std::uint32_t ahead_from_ = 0;    ///< the first one
  std::uint32_t ahead_count_ = 1;   ///< how many to read the next time
  std::vector<std::uint32_t>
      candidates_;  ///< frames beyond committed_ whose commit field is not 0, ascending
  std::unordered_map<Pgno, std::uint32_t> frames_;
  std::unordered_map<Pgno, std::uint32_t> waiting_;  ///< frames not yet known to be in the database file
  Pgno size_;  ///< of the database after the last committed frame; 0 before the first
  Buffer frame_;
};

}  // namespace rillfs
