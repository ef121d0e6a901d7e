// Makes LTX files that verify out of fuzzed bytes: a fuzzer cannot guess a CRC-64, and what lies behind one
// would never be tried.
#pragma once

#include <lz4.h>
#include <lz4frame.h>

#include "replication/ltx/decoder.h"
#include "replication/ltx/frame_reader.h"

namespace rillfs::fuzz {

/// Header and pages of `input` as far as they can be walked; then the end of the pages, the index and the
/// trailer that belong to them. Nothing is judged: page numbers and header may break every rule.
class LtxCompleter {
 public:
  LtxCompleter(Bytes input, ltx::Format format) : rest_(input), format_(format) {}

  Buffer run() {
    if (rest_.size() < ltx::kHeaderSize) return Buffer(rest_.begin(), rest_.end());
    page_size_ = load_be<std::uint32_t>(&rest_[8]);
    if (page_size_ < ltx::kPageSizeMin || page_size_ > ltx::kPageSizeMax) page_size_ = ltx::kPageSizeMin;
    both(take(ltx::kHeaderSize));
    while (page()) {
    }
    finish();
    return std::move(file_);
  }

 private:
  bool is_frames() const { return format_ == ltx::Format::kV2 || format_ == ltx::Format::kV3Frame; }
  bool is_v1() const { return format_ == ltx::Format::kV1Raw || format_ == ltx::Format::kV1Frame; }
  bool is_v3() const { return format_ == ltx::Format::kV3Block || format_ == ltx::Format::kV3Frame; }

  Bytes take(std::size_t size) {
    Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  /// To the file and to what its checksum runs over.
  void both(Bytes bytes) { put(bytes), logical_.update(bytes); }
  void put(Bytes bytes) { append_bytes(format_ == ltx::Format::kV1Frame && in_body_ ? body_ : file_, bytes); }

  bool page() {
    const std::size_t header = is_v3() ? ltx::kPageHeaderSize : 4;
    if (rest_.size() < header || load_be<std::uint32_t>(rest_.data()) == 0) return false;
    in_body_ = true;
    const Pgno pgno{load_be<std::uint32_t>(rest_.data())};
    Buffer content(page_size_);
    std::size_t size = 0;
    if (is_v1()) {
      if (rest_.size() < header + page_size_) return false;
      std::copy_n(rest_.begin() + 4, page_size_, content.begin());
      size = page_size_;
    } else {
      size = format_ == ltx::Format::kV3Block ? block(content) : frame(rest_.subspan(header), content);
    }
    if (size == 0) return false;
    const std::size_t offset = file_.size();
    const std::size_t before = format_ == ltx::Format::kV3Block ? ltx::kBlockHeaderSize : header;
    both(take(before));
    put(take(size));
    logical_.update(content);
    index_.push_back(ltx::IndexEntry(pgno, offset, file_.size() - offset));
    sum_ = sum_.toggled(ltx::page_checksum(pgno, content));
    return true;
  }
  std::size_t block(Buffer& content) const {
    if (rest_.size() < ltx::kBlockHeaderSize) return 0;
    const std::size_t size = load_be<std::uint32_t>(&rest_[6]);
    if (size == 0 || size > rest_.size() - ltx::kBlockHeaderSize) return 0;
    const int got = LZ4_decompress_safe(reinterpret_cast<const char*>(&rest_[ltx::kBlockHeaderSize]),
                                        reinterpret_cast<char*>(content.data()), static_cast<int>(size),
                                        static_cast<int>(content.size()));
    return got < 0 ? 0 : size;
  }
  static std::size_t frame(Bytes bytes, Buffer& content) {
    ltx::FrameReader reader;
    std::size_t used = 0, filled = 0;
    while (used < bytes.size() && !reader.ended()) {
      auto step = reader.step(bytes.subspan(used), MutableBytes(content).subspan(filled));
      if (!step || (step->consumed == 0 && step->produced == 0)) return 0;
      used += step->consumed;
      filled += step->produced;
    }
    return reader.ended() ? used : 0;
  }

  void finish() {
    in_body_ = true;
    const Buffer end(is_v3() ? 6 : 4);
    both(end);
    if (format_ == ltx::Format::kV1Frame) append_frame();
    in_body_ = false;
    if (!is_v1()) put_index();
    std::uint8_t trailer[ltx::kTrailerSize];
    const bool snapshot = load_be<std::uint64_t>(&file_[16]) == 1;
    const bool summed = (load_be<std::uint32_t>(&file_[4]) & ltx::kFlagNoChecksum) == 0;
    const bool deletion = load_be<std::uint32_t>(&file_[12]) == 0;
    const Checksum post = !summed ? Checksum{} : snapshot || !deletion ? sum_ : Checksum::empty();
    store_be(&trailer[0], post.value);
    logical_.update(Bytes(trailer, 8));
    store_be(&trailer[8], logical_.checksum().value);
    append_bytes(file_, trailer);
  }
  void append_frame() {
    Buffer frame(LZ4F_compressFrameBound(body_.size(), nullptr));
    frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), body_.data(), body_.size(), nullptr));
    append_bytes(file_, frame);
  }
  void put_index() {
    Buffer index;
    for (const ltx::IndexEntry& entry : index_) append_bytes(index, entry.bytes());
    index.push_back(0);
    std::uint8_t size[8];
    store_be(size, std::uint64_t{index.size()});
    both(index);
    both(size);
  }

  Bytes rest_;
  ltx::Format format_;
  std::uint32_t page_size_ = 0;
  bool in_body_ = false;
  Buffer file_;
  Buffer body_;  ///< of a file with one frame around all pages, uncompressed
  ltx::Crc64 logical_;
  std::vector<ltx::IndexEntry> index_;
  Checksum sum_ = Checksum::empty();
};

inline Buffer complete_ltx(Bytes input, ltx::Format format) { return LtxCompleter(input, format).run(); }

}  // namespace rillfs::fuzz
