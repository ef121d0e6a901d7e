#include "replication/ltx/encoder.h"

#include <lz4.h>

#include <utility>

namespace rillfs::ltx {
namespace {

Error invalid(const char* what) {
  return make_error(ErrorCode::kInvalid, std::string("LTX encoder: ") + what);
}

}  // namespace

Result<void> Encoder::begin(const Header& header) {
  header_.reset();
  RILL_TRY(validate(header));
  if (header.flags & kFlagWholeFrame) return invalid("only v1 files are compressed as a whole");
  if (header.commit == Pgno{} && !header.has_checksums()) return invalid("a deletion needs checksums");
  order_.emplace(header);
  crc_ = {};
  index_.clear();
  size_ = 0;
  HeaderBytes bytes = encode(header);
  crc_.update(bytes);
  RILL_TRY(write(bytes));
  header_ = header;
  return {};
}

Result<void> Encoder::page(Pgno pgno, Bytes data) { return page(pgno, data, compressed(data)); }

/// Empty: it failed.
Bytes Encoder::compressed(Bytes data) {
  block_.resize(block_size_max(static_cast<std::uint32_t>(data.size())));
  const int size =
      LZ4_compress_default(reinterpret_cast<const char*>(data.data()), reinterpret_cast<char*>(block_.data()),
                           static_cast<int>(data.size()), static_cast<int>(block_.size()));
  return Bytes(block_).first(static_cast<std::size_t>(std::max(size, 0)));
}

Result<void> Encoder::page(Pgno pgno, Bytes data, Bytes block) {
  if (!header_) return invalid("page outside of a file");
  // Until this page is through there is no file: after an error nothing but begin() is allowed.
  Header header = *std::exchange(header_, std::nullopt);
  if (data.size() != header.page_size) return invalid("page of a wrong size");
  if (block.empty() || block.size() > block_size_max(header.page_size)) return invalid("LZ4 failed");
  RILL_TRY(order_->add(pgno));
  order_->sum(pgno, data);
  std::uint8_t frame_header[kBlockHeaderSize];
  store_be(&frame_header[0], pgno.value);
  store_be(&frame_header[4], kPageFlagBlock);
  store_be(&frame_header[6], static_cast<std::uint32_t>(block.size()));
  crc_.update(frame_header);
  crc_.update(data);
  append_bytes(index_, IndexEntry(pgno, size_, kBlockHeaderSize + block.size()).bytes());
  RILL_TRY(write(frame_header));
  RILL_TRY(write(block));
  header_ = header;
  return {};
}

Result<Trailer> Encoder::finish(Checksum post_apply) {
  if (!header_) return invalid("finish outside of a file");
  Header header = *std::exchange(header_, std::nullopt);
  RILL_TRY(order_->finish(post_apply));
  RILL_TRY(validate(Trailer{post_apply, Checksum::empty()}, header));
  index_.push_back(0);
  std::uint64_t index_size = index_.size();
  index_.insert(index_.begin(), kPageHeaderSize, 0);  // the zero page header
  std::size_t tail = index_.size();
  index_.resize(tail + 8 + kTrailerSize);
  store_be(&index_[tail], index_size);
  store_be(&index_[tail + 8], post_apply.value);
  crc_.update(Bytes(index_).first(tail + 16));
  store_be(&index_[tail + 16], crc_.checksum().value);
  RILL_TRY(write(index_));
  return Trailer{post_apply, crc_.checksum()};
}

Result<void> Encoder::write(Bytes bytes) {
  RILL_TRY(sink_.write(bytes));
  size_ += bytes.size();
  return {};
}

}  // namespace rillfs::ltx
