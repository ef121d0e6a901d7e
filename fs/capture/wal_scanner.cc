#include "fs/capture/wal_scanner.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace rillfs {
namespace {
constexpr Label kScan = "capture: read WAL";
constexpr Label kSeal = "capture: seal WAL";
/// Bytes that are read at once where much is to be read, and that are kept for the next time.
constexpr std::size_t kAheadMax = 256 << 10;
constexpr std::size_t kAheadKept = 8 << 10;
using sqlite::is_unsealed_frame;
}  // namespace

Result<std::size_t> WalView::read(MutableBytes into, std::uint64_t offset) const {
  const std::uint64_t held_end = held_offset_ + held_.size();
  // The common case: everything asked for is in the held write.
  if (offset >= held_offset_ && offset + into.size() <= held_end) {
    std::memcpy(into.data(), held_.data() + (offset - held_offset_), into.size());
    return into.size();
  }
  // The next one: a frame's header is in the file, its page in the held write.
  if (offset < held_offset_ && held_offset_ < offset + into.size() && offset + into.size() <= held_end) {
    const std::size_t before = held_offset_ - offset;
    RILL_ASSIGN(std::size_t there, file_.read_at(into.first(before), offset, kScan));
    std::memset(into.data() + there, 0, before - there);
    std::memcpy(into.data() + before, held_.data(), into.size() - before);
    return into.size();
  }
  RILL_ASSIGN(std::size_t got, file_.read_at(into, offset, kScan));
  const std::uint64_t from = std::max(offset, held_offset_);
  const std::uint64_t to = std::min(offset + into.size(), held_end);
  if (from < to) {
    if (offset + got < from) std::memset(into.data() + got, 0, from - offset - got);
    std::memcpy(into.data() + (from - offset), held_.data() + (from - held_offset_), to - from);
    got = std::max<std::size_t>(got, to - offset);
  }
  return got;
}

void WalScanner::begin(const sqlite::WalHeader& header) {
  end();
  header_ = header;
  committed_ = verified_ = Point{0, header.checksum};
  reach_ = written_to_ = 0;
  trusted_ = {};
  stopped_at_unsealed_ = false;
  // Not reseal_from_: after going back to the WAL's start a transaction writes the header again.
  unsealed_last_ = 0;
  unsealed_open_ = unsealed_committed_ = ends_unsealed_ = committed_ends_unsealed_ = false;
  frame_.resize(sqlite::frame_size(header.page_size));
}

void WalScanner::end() {
  header_.reset();
  open_.clear();
  open_sums_.clear();
  candidates_.clear();
  frames_.clear();
  waiting_.clear();
  size_ = Pgno{};
}

namespace {

/// Where the frames end: at the first that has no page number, in a hole for example, or where the file does.
Result<std::uint64_t> end_of_frames(File& wal, std::uint64_t size, std::uint32_t page_size) {
  std::uint64_t at = sqlite::kWalHeaderSize;
  for (; at + sqlite::frame_size(page_size) <= size; at += sqlite::frame_size(page_size)) {
    std::uint8_t header[sqlite::kFrameHeaderSize] = {};
    RILL_TRY(wal.read_at(header, at, kScan));
    if (sqlite::parse_frame_header(header).pgno.value == 0) break;
  }
  return at;
}

}  // namespace

Result<void> WalScanner::scan(File& wal) {
  end();
  RILL_ASSIGN(std::uint64_t size, wal.size(kScan));
  std::uint8_t bytes[sqlite::kWalHeaderSize];
  RILL_ASSIGN(const std::size_t got, wal.read_at(bytes, 0, kScan));
  if (got < sizeof bytes) return {};
  auto header = sqlite::parse_wal_header(bytes);
  if (!header) return {};
  begin(*header);
  const WalView view(wal);
  RILL_ASSIGN(size, end_of_frames(wal, size, page_size()));
  RILL_ASSIGN(auto transaction, written(view, sqlite::kWalHeaderSize, size - sqlite::kWalHeaderSize));
  while (transaction) {
    commit(*transaction);
    RILL_ASSIGN(transaction, written(view, committed_end(), 0));
  }
  refuse();  // open frames may be written over before anybody looks again
  return {};
}

std::uint64_t WalScanner::committed_end() const {
  return header_ ? sqlite::frame_offset(committed_.frame + 1, header_->page_size) : 0;
}

std::vector<Pgno> WalScanner::waiting() const {
  std::vector<Pgno> pages;
  pages.reserve(waiting_.size());
  for (const auto& [pgno, frame] : waiting_) pages.push_back(pgno);
  return pages;
}

void WalScanner::note_rewrite(std::uint64_t offset) {
  // SQLite writes a new frame as header and page, and over an old one the page alone.
  const std::uint64_t in_frames = offset - sqlite::kWalHeaderSize;
  const bool page_alone =
      in_frames % sqlite::frame_size(page_size()) == sqlite::kFrameHeaderSize && offset != written_to_;
  if (!page_alone) return;
  const auto frame = static_cast<std::uint32_t>(in_frames / sqlite::frame_size(page_size()) + 1);
  if (frame > committed_.frame) reseal_from_ = reseal_from_ == 0 ? frame : std::min(reseal_from_, frame);
}

void WalScanner::note_header(std::uint32_t frame, Bytes header) {
  auto place = std::lower_bound(candidates_.begin(), candidates_.end(), frame);
  const bool known = place != candidates_.end() && *place == frame;
  const bool unsealed = is_unsealed_frame(header);
  // One that waits to be sealed completes nothing yet: looking for it again with each header that is sealed
  // before it would read the whole transaction each time.
  const bool commits = sqlite::parse_frame_header(header).is_commit() && (!unsealed || frame < reseal_from_);
  if (commits && !known) candidates_.insert(place, frame);
  if (!commits && known) candidates_.erase(place);
  // Sealed: a new transaction has begun, or SQLite has come to sealing what it wrote over.
  if (!unsealed) reseal_from_ = 0;
  unsealed_last_ = commits && unsealed ? frame : 0;
}

Result<void> WalScanner::note_headers(const WalView& view, std::uint64_t offset, std::size_t size) {
  const std::uint64_t frame_size = sqlite::frame_size(page_size());
  const std::uint64_t from = std::max<std::uint64_t>(offset, sqlite::kWalHeaderSize);
  const std::uint64_t end = offset + size;
  if (from >= end) return {};
  note_rewrite(from);
  if (from != written_to_) unsealed_last_ = 0;
  auto frame = static_cast<std::uint32_t>((from - sqlite::kWalHeaderSize) / frame_size + 1);
  for (;; ++frame) {
    const std::uint64_t start = sqlite::frame_offset(frame, page_size());
    if (start + sqlite::kFrameHeaderSize > end) break;  // not all of its header yet
    if (start + sqlite::kFrameHeaderSize <= from || frame <= committed_.frame) continue;  // only its page
    std::uint8_t header[sqlite::kFrameHeaderSize] = {};
    RILL_TRY(view.read(header, start));
    note_header(frame, header);
  }
  written_to_ = end;
  return {};
}

Result<bool> WalScanner::verify_next(const WalView& view, sqlite::FrameHeader& header) {
  const std::uint32_t next = verified_.frame + 1;
  RILL_ASSIGN(std::size_t got, view.read(frame_, sqlite::frame_offset(next, page_size())));
  if (got < frame_.size()) return false;
  header = sqlite::parse_frame_header(frame_);
  sqlite::WalChecksum running = verified_.checksum;
  if (!is_unsealed_frame(frame_)) {
    if (!continues(frame_, running)) return false;
  } else {
    const bool ends_here =
        next == unsealed_last_ && written_to_ >= sqlite::frame_offset(next + 1, page_size());
    if (header.pgno.value == 0 || (header.is_commit() && !ends_here)) return false;
    running = {};
    unsealed_open_ = true;
    if (ends_here) {
      RILL_ASSIGN(running, checksum_of(view, reseal_from_ - 1));
    }
  }
  verified_ = Point{next, running};
  ends_unsealed_ = is_unsealed_frame(frame_);
  open_.push_back(header.pgno);
  return true;
}

Result<sqlite::WalChecksum> WalScanner::checksum_of(const WalView& view, std::uint32_t frame) const {
  std::uint8_t header[sqlite::kFrameHeaderSize] = {};
  RILL_TRY(view.read(header, sqlite::frame_offset(frame, page_size())));
  return sqlite::parse_frame_header(header).checksum;
}

WalTransaction WalScanner::take(Pgno commit) {
  WalTransaction transaction{committed_.frame + 1, verified_.frame, commit, {}};
  transaction.pages.reserve(open_.size());
  for (std::size_t i = 0; i < open_.size(); ++i) {
    transaction.pages.emplace_back(open_[i], committed_.frame + 1 + static_cast<std::uint32_t>(i));
  }
  // The last frame of each page counts: order by page, newest first, and keep the first of each.
  std::sort(transaction.pages.begin(), transaction.pages.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  });
  transaction.pages.erase(std::unique(transaction.pages.begin(), transaction.pages.end(),
                                      [](const auto& a, const auto& b) { return a.first == b.first; }),
                          transaction.pages.end());
  return transaction;
}

Result<std::optional<WalTransaction>> WalScanner::written(const WalView& view, std::uint64_t offset,
                                                          std::size_t size) {
  if (!header_ || (offset < sqlite::kWalHeaderSize && offset + size <= sqlite::kWalHeaderSize))
    return std::nullopt;
  // A frame's number has 32 bits; behind the last one there is nothing that could be one.
  if (offset + size < offset || offset + size > sqlite::frame_offset(UINT32_MAX, page_size()))
    return errno_error(EFBIG, "WAL: write at " + std::to_string(offset) + ", behind the last possible frame");
  if (offset < sqlite::frame_offset(verified_.frame + 1, page_size())) refuse();
  RILL_TRY(note_headers(view, offset, size));
  reach_ = std::max(reach_, offset + size);
  return next_transaction(view);
}

void WalScanner::cut(std::uint64_t size) {
  if (!header_) return;
  reach_ = std::min(reach_, size);
  std::erase_if(candidates_, [&](std::uint32_t frame) {
    return sqlite::frame_offset(frame, page_size()) + sqlite::kFrameHeaderSize > size;
  });
  refuse();  // what was verified has to be there still
}

Result<void> WalScanner::look_again(const WalView& view, bool thorough) {
  ahead_.clear();
  if (ahead_.capacity() > kAheadKept) ahead_ = {};
  if (!header_) return {};
  // A commit is never sealed late once it was found; one that a wal-index vouched for may be.
  if (committed_.frame != 0 && !unsealed_committed_) {
    RILL_ASSIGN(const bool same, is_still(view, committed_.frame, committed_.checksum));
    if (!same)
      return make_error(ErrorCode::kPositionMismatch, "frame " + std::to_string(committed_.frame) +
                                                          " of the WAL was committed, and is another");
  }
  RILL_TRY(go_back_over_rewritten(view, thorough));
  read_before_pause_ = !open_.empty();
  return {};
}

Result<std::optional<WalTransaction>> WalScanner::follow(const WalView& view) {
  if (!header_) return std::nullopt;
  sqlite::FrameHeader header;
  for (;;) {
    RILL_ASSIGN(const bool valid, read_next(view, header));
    if (!valid) return std::nullopt;
    if (!header.is_commit()) continue;
    if (!read_before_pause_) return take(header.commit);
    // SQLite writes a page over in place and seals later: only what has been read in one go is certain.
    refuse();
    read_before_pause_ = false;
  }
}

void WalScanner::trust(std::uint32_t max_frame, sqlite::WalChecksum checksum) {
  if (max_frame > committed_.frame) trusted_ = Point{max_frame, checksum};
  refuse();
}

Result<bool> WalScanner::is_still(const WalView& view, std::uint32_t frame,
                                  sqlite::WalChecksum checksum) const {
  std::uint8_t bytes[sqlite::kFrameHeaderSize] = {};
  RILL_ASSIGN(const std::size_t got, view.read(bytes, sqlite::frame_offset(frame, page_size())));
  const sqlite::FrameHeader header = sqlite::parse_frame_header(bytes);
  return got == sizeof bytes && header.salts == header_->salts && header.checksum == checksum;
}

Result<void> WalScanner::go_back_over_rewritten(const WalView& view, bool thorough) {
  if (open_sums_.empty()) return {};
  std::size_t same = open_sums_.size();
  RILL_ASSIGN(const bool last, is_still(view, verified_.frame, open_sums_.back()));
  if (!last || thorough) {
    for (same = 0; same < open_sums_.size(); ++same) {
      const auto frame = committed_.frame + 1 + static_cast<std::uint32_t>(same);
      RILL_ASSIGN(const bool still, is_still(view, frame, open_sums_[same]));
      if (!still) break;
    }
  }
  if (same == open_sums_.size()) return {};
  open_.resize(same);
  open_sums_.resize(same);
  verified_ =
      same == 0 ? committed_ : Point{committed_.frame + static_cast<std::uint32_t>(same), open_sums_.back()};
  return {};
}

Bytes WalScanner::in_ahead(std::uint32_t frame) const {
  const std::uint64_t size = sqlite::frame_size(page_size());
  if (frame < ahead_from_ || (frame - ahead_from_ + 1) * size > ahead_.size()) return {};
  return Bytes(ahead_).subspan((frame - ahead_from_) * size, size);
}

Bytes WalScanner::recent_page(std::uint32_t frame) const {
  const Bytes bytes = in_ahead(frame);
  return bytes.empty() ? bytes : bytes.subspan(sqlite::kFrameHeaderSize);
}

Result<void> WalScanner::read_ahead(const WalView& view, std::uint32_t frame) {
  const std::uint64_t size = sqlite::frame_size(page_size());
  const std::uint64_t most = std::max<std::uint64_t>(1, kAheadMax / size);
  ahead_count_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(ahead_count_, most));
  ahead_.resize(ahead_count_ * size);
  ahead_from_ = frame;
  RILL_ASSIGN(const std::size_t got, view.read(ahead_, sqlite::frame_offset(frame, page_size())));
  ahead_.resize(got);
  return {};
}

Result<bool> WalScanner::read_next(const WalView& view, sqlite::FrameHeader& header) {
  const std::uint32_t next = verified_.frame + 1;
  stopped_at_unsealed_ = false;
  if (const Bytes known = in_ahead(next); !known.empty() && take_frame(known, header)) return true;
  // Not read yet, or before it was complete.
  RILL_TRY(read_ahead(view, next));
  const Bytes fresh = in_ahead(next);
  const bool taken = !fresh.empty() && take_frame(fresh, header);
  ahead_count_ = taken ? ahead_count_ * 2 : 1;
  return taken;
}

bool WalScanner::continues(Bytes frame, sqlite::WalChecksum& running) const {
  if (sqlite::verify_frame(frame, header_->salts, header_->order, running)) return true;
  // A transaction that is sealed from its first frame on continues what stands in the file before it:
  // nothing, where SQLite forgot to seal the commit before. One that is not goes on from what the wal-index
  // says.
  if (verified_.frame != committed_.frame || !committed_ends_unsealed_) return false;
  running = {};
  return sqlite::verify_frame(frame, header_->salts, header_->order, running);
}

bool WalScanner::take_frame(Bytes frame, sqlite::FrameHeader& header) {
  const std::uint32_t number = verified_.frame + 1;
  header = sqlite::parse_frame_header(frame);
  sqlite::WalChecksum running = verified_.checksum;
  if (number <= trusted_.frame) {
    if (header.pgno.value == 0) return false;
    unsealed_open_ |= is_unsealed_frame(frame);
    running = number == trusted_.frame ? trusted_.checksum : header.checksum;
  } else if (!continues(frame, running)) {
    stopped_at_unsealed_ = is_unsealed_frame(frame) && header.pgno.value != 0;
    return false;
  }
  verified_ = Point{number, running};
  ends_unsealed_ = is_unsealed_frame(frame);
  open_.push_back(header.pgno);
  open_sums_.push_back(header.checksum);
  return true;
}

Result<std::optional<WalTransaction>> WalScanner::left_behind(const WalView& view) {
  if (!header_ || candidates_.empty()) return std::nullopt;
  reach_ = std::max(reach_, sqlite::frame_offset(candidates_.back() + 1, page_size()));
  return next_transaction(view);
}

Result<std::optional<WalTransaction>> WalScanner::next_transaction(const WalView& view) {
  sqlite::FrameHeader header;
  while (!candidates_.empty() && verified_.frame < candidates_.back() &&
         sqlite::frame_offset(verified_.frame + 2, page_size()) <= reach_) {
    RILL_ASSIGN(bool valid, verify_next(view, header));
    if (!valid) break;
    if (header.is_commit()) return take(header.commit);
  }
  return std::nullopt;
}

void WalScanner::commit(const WalTransaction& transaction) {
  committed_ = verified_;
  committed_ends_unsealed_ = ends_unsealed_;
  reseal_from_ = unsealed_last_ = 0;
  unsealed_committed_ |= unsealed_open_;
  unsealed_open_ = false;
  open_.clear();
  open_sums_.clear();
  std::erase_if(candidates_, [&](std::uint32_t frame) { return frame <= transaction.last; });
  for (const auto& [pgno, frame] : transaction.pages) {
    if (pgno > transaction.commit) continue;  // spilled, and cut off before the commit: never written back
    frames_[pgno] = frame;
    waiting_[pgno] = frame;
  }
  if (transaction.commit < size_) {
    // Pages that the transaction cut off are never written back.
    auto beyond = [&](const auto& entry) { return entry.first > transaction.commit; };
    std::erase_if(waiting_, beyond);
    std::erase_if(frames_, beyond);
  }
  size_ = transaction.commit;
}

void WalScanner::refuse() {
  verified_ = committed_;
  unsealed_last_ = 0;
  unsealed_open_ = false;
  open_.clear();
  open_sums_.clear();
}

Result<void> WalScanner::seal(File& wal) {
  sqlite::WalChecksum running = header_->checksum;
  for (std::uint32_t frame = 1; frame <= committed_.frame; ++frame) {
    const std::uint64_t offset = sqlite::frame_offset(frame, page_size());
    RILL_ASSIGN(std::size_t got, wal.read_at(frame_, offset, kScan));
    if (got < frame_.size()) return make_error(ErrorCode::kCorrupt, "the WAL ends within committed frames");
    const sqlite::FrameHeader present = sqlite::parse_frame_header(frame_);
    const Bytes page = Bytes(frame_).subspan(sqlite::kFrameHeaderSize);
    sqlite::encode_frame_header(frame_.data(), present.pgno, present.commit, header_->salts, page,
                                header_->order, running);
    if (sqlite::parse_frame_header(frame_).checksum == present.checksum) continue;
    RILL_TRY(wal.write_at(Bytes(frame_).first(sqlite::kFrameHeaderSize), offset, kSeal));
  }
  committed_.checksum = running;
  unsealed_committed_ = false;
  refuse();
  return {};
}

}  // namespace rillfs
