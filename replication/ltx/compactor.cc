#include "replication/ltx/compactor.h"

#include <algorithm>
#include <vector>

#include "replication/ltx/encoder.h"

namespace rillfs::ltx {
namespace {

/// So much may lie in memory that no longer counts, beside as much as does: bytes.
constexpr std::size_t kUselessMin = 256 << 10;

Error corrupt(const char* what) {
  return make_error(ErrorCode::kCorrupt, std::string("LTX compactor: ") + what);
}

/// One page's place in a file.
struct Frame {
  Pgno pgno;  ///< 0: the end of the pages
  std::size_t offset = 0;
  std::size_t size = 0;  ///< bytes of its block
};

/// The frame at `offset`, which is moved behind it.
Result<Frame> read_frame(Bytes file, std::size_t& offset) {
  const Bytes rest = file.subspan(std::min(offset, file.size()));
  if (rest.size() < kBlockHeaderSize) return corrupt("the file ends within its pages");
  const Pgno pgno{load_be<std::uint32_t>(&rest[0])};
  if (pgno == Pgno{}) return Frame{};
  const std::size_t size = load_be<std::uint32_t>(&rest[6]);
  if (load_be<std::uint16_t>(&rest[4]) != kPageFlagBlock || size == 0 ||
      size > rest.size() - kBlockHeaderSize)
    return corrupt("a page that is no LZ4 block");
  const Frame frame{pgno, offset + kBlockHeaderSize, size};
  offset = frame.offset + size;
  return frame;
}

Result<std::vector<Frame>> read_frames(Bytes file, Pgno commit) {
  std::vector<Frame> frames;
  Pgno last;
  for (std::size_t offset = kHeaderSize;;) {
    RILL_ASSIGN(const Frame frame, read_frame(file, offset));
    if (frame.pgno == Pgno{}) return frames;
    if (frame.pgno <= last || frame.pgno > commit) return corrupt("pages that are not in order");
    last = frame.pgno;
    frames.push_back(frame);
  }
}

}  // namespace

bool Compactor::fits(const Header& header) const {
  if (header.flags != 0 || header.is_snapshot() || header.commit == Pgno{}) return false;
  if (count_ == 0) return true;
  return header.page_size == last_.page_size && header.min_txid == last_.max_txid.next() &&
         header.pre_apply == end_.post_apply;
}

Result<bool> Compactor::add(Bytes file) {
  if (file.size() < kHeaderSize + kTrailerSize) return corrupt("the file is too short");
  RILL_ASSIGN(const Header header, parse_header(file));
  if (!fits(header)) return false;
  RILL_ASSIGN(const std::vector<Frame> frames, read_frames(file, header.commit));
  for (const Frame& frame : frames) put(frame.pgno, file.subspan(frame.offset, frame.size));
  remove_what_no_longer_counts();
  if (count_++ == 0) first_ = header;
  last_ = header;
  end_ = parse_trailer(file.last(kTrailerSize));
  return true;
}

void Compactor::put(Pgno pgno, Bytes block) {
  Block& at = blocks_[pgno];
  size_ = size_ - at.size + block.size();
  at = {bytes_.size(), block.size()};
  append_bytes(bytes_, block);
}

std::size_t Compactor::size_max() const {
  constexpr std::size_t kOfAPage = kBlockHeaderSize + kIndexEntrySizeMax;
  return kHeaderSize + size_ + blocks_.size() * kOfAPage + kPageHeaderSize + 1 + 8 + kTrailerSize;
}

void Compactor::remove_what_no_longer_counts() {
  if (bytes_.size() < 2 * size_ + kUselessMin) return;
  Buffer bytes;
  bytes.reserve(bytes_.size());
  for (auto& [pgno, at] : blocks_) {
    const std::size_t offset = bytes.size();
    append_bytes(bytes, Bytes(bytes_).subspan(at.offset, at.size));
    at.offset = offset;
  }
  bytes_.swap(bytes);
}

Result<Buffer> Compactor::finish() const {
  // Made by nobody, and from no one place of a WAL.
  Header header = last_;
  header.min_txid = first_.min_txid;
  header.pre_apply = first_.pre_apply;
  header.wal_offset = header.wal_size = 0;
  header.wal_salt1 = header.wal_salt2 = 0;
  header.node = NodeId{};

  std::vector<Pgno> pgnos;
  pgnos.reserve(blocks_.size());
  // A page that was cut off comes again with the file by which the database grows again.
  for (const auto& [pgno, block] : blocks_)
    if (pgno <= header.commit) pgnos.push_back(pgno);
  std::sort(pgnos.begin(), pgnos.end());

  Buffer merged;
  merged.reserve(size_max());
  BufferSink sink(merged);
  Encoder encoder(sink);
  RILL_TRY(encoder.begin(header));
  Buffer page(header.page_size);
  for (const Pgno pgno : pgnos) {
    const Block& at = blocks_.at(pgno);
    const Bytes block = Bytes(bytes_).subspan(at.offset, at.size);
    if (!expand_block(block, page)) return corrupt("a compressed page does not expand to a page");
    RILL_TRY(encoder.page(pgno, page, block));
  }
  RILL_TRY(encoder.finish(end_.post_apply));
  return merged;
}

}  // namespace rillfs::ltx
