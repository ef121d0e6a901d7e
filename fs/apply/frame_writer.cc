#include "fs/apply/frame_writer.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "replication/base/failpoint.h"

namespace rillfs::apply {
namespace {

using namespace sqlite;

constexpr std::size_t kChunk = 1 << 20;      // bytes
constexpr std::size_t kCachePage = 4 << 10;  // bytes; where the kernel's are larger, it costs what it did

}  // namespace

FrameWriter::FrameWriter(const Descriptor& wal, SharedIndex& index, const WalIndexHeader& last,
                         Buffer& buffer)
    : wal_(wal), index_(index), header_(last), buffer_(buffer) {
  if (header_.max_frame != 0) {
    const std::uint64_t begin = frame_offset(header_.max_frame + 1, header_.page_size);
    before_ = begin % kCachePage;
    buffer_offset_ = begin - before_;
  }
  buffer_.assign(before_, 0);
}

void FrameWriter::begin_generation(WalHeader header) {
  append_bytes(buffer_, encode_wal_header(header));
  header_.page_size = header.page_size;
  header_.order = header.order;
  header_.salts = header.salts;
  header_.frame_checksum = header.checksum;
}

Result<void> FrameWriter::add(const Page& page) {
  if (open_) seal_last_frame(Pgno{0});
  if (buffer_.size() >= kChunk) RILL_TRY(flush());
  if (header_.max_frame >= std::numeric_limits<std::uint32_t>::max() - 1)
    return make_error(ErrorCode::kNoSpace, "the WAL cannot have more frames");
  buffer_.resize(buffer_.size() + kFrameHeaderSize);
  append_bytes(buffer_, page.data);
  unwritten_.push_back(page.pgno);
  open_ = true;
  return {};
}

void FrameWriter::seal_last_frame(Pgno commit) {
  std::uint8_t* frame = buffer_.data() + buffer_.size() - frame_size(header_.page_size);
  encode_frame_header(frame, unwritten_.back(), commit, header_.salts,
                      Bytes(frame + kFrameHeaderSize, header_.page_size), header_.order,
                      header_.frame_checksum);
  ++header_.max_frame;
  open_ = false;
}

Result<void> FrameWriter::flush() {
  // The index first, so that a transaction fails before it is in the WAL, where recovery would find it.
  RILL_TRY(index_.reserve(header_.max_frame));
  std::uint32_t frame = header_.max_frame - static_cast<std::uint32_t>(unwritten_.size());
  for (const Pgno pgno : unwritten_) RILL_TRY(index_.insert(++frame, pgno));
  RILL_TRY(read_what_is_before());
  const std::size_t begun = buffer_.size() % kCachePage;  // of the last page
  if (begun != 0) buffer_.resize(buffer_.size() + kCachePage - begun);
  failpoint::reach("apply.wal.before_frames");
  RILL_TRY(wal_.write_at(buffer_, buffer_offset_));
  failpoint::reach("apply.wal.after_frames");
  const std::size_t next = begun == 0 ? buffer_.size() : buffer_.size() - kCachePage;
  std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(next), begun, buffer_.begin());
  buffer_.resize(begun);
  buffer_offset_ += next;
  unwritten_.clear();
  return {};
}

Result<void> FrameWriter::read_what_is_before() {
  const std::size_t size = std::exchange(before_, 0);
  if (size == 0) return {};
  RILL_ASSIGN(const std::size_t got, wal_.read_at(MutableBytes(buffer_).first(size), buffer_offset_));
  return got == size ? Result<void>() : make_error(ErrorCode::kCorrupt, "the WAL ends before its last frame");
}

Result<WalIndexHeader> FrameWriter::finish(Pgno commit) {
  if (!open_) return make_error(ErrorCode::kInvalid, "transaction without frames");
  seal_last_frame(commit);
  RILL_TRY(flush());
  header_.size = commit;
  ++header_.change;
  return header_;
}

}  // namespace rillfs::apply
