#include "replication/ltx/decoder.h"

#include "replication/ltx/frame_reader.h"

namespace rillfs::ltx {
namespace {

constexpr std::size_t kInputSize = 64 * 1024;
constexpr std::uint8_t kFrameMagic[4] = {0x04, 0x22, 0x4d, 0x18};
/// What follows the header of a file without pages: end of pages, index, trailer.
constexpr std::size_t kEmptyRestV1 = 4 + kTrailerSize;
constexpr std::size_t kEmptyRestV2 = 4 + 1 + 8 + kTrailerSize;
constexpr std::size_t kEmptyRestV3 = 6 + 1 + 8 + kTrailerSize;

Error corrupt(std::string what) { return make_error(ErrorCode::kCorrupt, "LTX: " + std::move(what)); }

/// What a rule of the format calls invalid is corruption in a file that we read.
Error as_corrupt(Error error) {
  error.code = ErrorCode::kCorrupt;
  return error;
}

bool starts_frame(Bytes bytes) {
  return bytes.size() >= 4 && std::equal(std::begin(kFrameMagic), std::end(kFrameMagic), bytes.begin());
}

std::size_t page_header_size(Format format) {
  return format == Format::kV3Block || format == Format::kV3Frame ? kPageHeaderSize : 4;
}

bool has_index(Format format) { return format != Format::kV1Raw && format != Format::kV1Frame; }

}  // namespace

Decoder::Decoder(ByteSource& source, std::optional<Format> format) : source_(source), format_(format) {}
Decoder::~Decoder() = default;

Result<Header> Decoder::begin() {
  if (state_ != State::kStart) return make_error(ErrorCode::kInvalid, "LTX decoder: used twice");
  state_ = State::kFailed;
  input_ = std::make_unique_for_overwrite<std::uint8_t[]>(kInputSize);
  HeaderBytes bytes;
  RILL_TRY(read_exact(bytes));
  RILL_ASSIGN(header_, parse_header(bytes));
  crc_.update(bytes);
  if (!format_) {
    RILL_ASSIGN(format_, detect());
  }
  bool whole_frame = (header_.flags & kFlagWholeFrame) != 0;
  if (whole_frame != (*format_ == Format::kV1Frame)) return corrupt("compression flag of another version");
  order_.emplace(header_);
  page_.resize(header_.page_size);
  compressed_.resize(block_size_max(header_.page_size));
  if (*format_ != Format::kV1Raw && *format_ != Format::kV3Block) frame_ = std::make_unique<FrameReader>();
  state_ = State::kPages;
  return header_;
}

Result<Format> Decoder::detect() {
  if (header_.flags & kFlagWholeFrame) return Format::kV1Frame;
  RILL_ASSIGN(Bytes rest, peek(kEmptyRestV3 + 1));
  if (rest.size() < kEmptyRestV1) return corrupt("file ends after its header");
  if (load_be<std::uint32_t>(&rest[0]) == 0) {
    if (rest.size() == kEmptyRestV1) return Format::kV1Raw;
    if (rest.size() == kEmptyRestV2) return Format::kV2;
    return Format::kV3Block;
  }
  auto flags = load_be<std::uint16_t>(&rest[4]);
  auto size = load_be<std::uint32_t>(&rest[6]);
  if (flags == kPageFlagBlock && size != 0 && size <= block_size_max(header_.page_size))
    return Format::kV3Block;
  if (flags == 0 && starts_frame(rest.subspan(6))) return Format::kV3Frame;
  if (starts_frame(rest.subspan(4))) return Format::kV2;
  return Format::kV1Raw;
}

Result<std::optional<Page>> Decoder::next() {
  if (state_ == State::kPagesDone) return std::optional<Page>();
  if (state_ != State::kPages) return make_error(ErrorCode::kInvalid, "LTX decoder: next() out of order");
  state_ = State::kFailed;
  RILL_ASSIGN(std::optional<Page> page, next_page());
  state_ = page ? State::kPages : State::kPagesDone;
  return page;
}

Result<std::optional<Page>> Decoder::next_page() {
  std::uint64_t frame_offset = offset_;
  RILL_ASSIGN(Pgno pgno, read_page_header());
  if (pgno == Pgno{}) return std::optional<Page>();
  if (auto ordered = order_->add(pgno); !ordered) return as_corrupt(ordered.error());
  switch (*format_) {
    case Format::kV3Block: {
      RILL_TRY(read_block());
      break;
    }
    case Format::kV3Frame:
    case Format::kV2: {
      frame_ = std::make_unique<FrameReader>();
      RILL_TRY(inflate(page_, true));
      break;
    }
    case Format::kV1Raw:
    case Format::kV1Frame: {
      RILL_TRY(read_body(page_));
      break;
    }
  }
  crc_.update(page_);
  order_->sum(pgno, page_);
  if (has_index(*format_)) {
    IndexEntry entry(pgno, frame_offset, offset_ - frame_offset);
    index_crc_.update(entry.bytes());
    index_size_ += entry.bytes().size();
  }
  return std::optional<Page>(Page{pgno, page_});
}

Result<Pgno> Decoder::read_page_header() {
  std::uint8_t bytes[kPageHeaderSize] = {};
  MutableBytes used = MutableBytes(bytes).first(page_header_size(*format_));
  RILL_TRY(read_body(used));
  crc_.update(used);
  Pgno pgno{load_be<std::uint32_t>(bytes)};
  auto flags = load_be<std::uint16_t>(&bytes[4]);
  bool is_block = *format_ == Format::kV3Block && pgno != Pgno{};
  if (flags != (is_block ? kPageFlagBlock : 0)) {
    return corrupt("page " + std::to_string(pgno.value) + ": unknown flags in its header");
  }
  return pgno;
}

Result<void> Decoder::read_block() {
  std::uint8_t bytes[4];
  RILL_TRY(read_exact(bytes));
  crc_.update(bytes);
  auto size = load_be<std::uint32_t>(bytes);
  if (size == 0 || size > compressed_.size())
    return corrupt("compressed page of " + std::to_string(size) + " bytes");
  RILL_TRY(read_exact(MutableBytes(compressed_).first(size)));
  if (expand_block(Bytes(compressed_).first(size), page_)) return {};
  return corrupt("compressed page does not expand to a page");
}

Result<Trailer> Decoder::finish() {
  if (state_ != State::kPagesDone)
    return make_error(ErrorCode::kInvalid, "LTX decoder: finish() out of order");
  state_ = State::kFailed;
  RILL_ASSIGN(Trailer trailer, finish_file());
  state_ = State::kFinished;
  return trailer;
}

Result<Trailer> Decoder::finish_file() {
  if (*format_ == Format::kV1Frame) RILL_TRY(inflate({}, true));
  if (has_index(*format_)) RILL_TRY(read_index());
  std::uint8_t bytes[kTrailerSize];
  RILL_TRY(read_exact(bytes));
  Trailer trailer = parse_trailer(bytes);
  crc_.update(Bytes(bytes).first(8));
  if (trailer.file != crc_.checksum()) return corrupt("file checksum does not match");
  if (auto valid = validate(trailer, header_); !valid) return as_corrupt(valid.error());
  if (auto complete = order_->finish(trailer.post_apply); !complete) return as_corrupt(complete.error());
  RILL_ASSIGN(Bytes rest, peek(1));
  if (!rest.empty()) return corrupt("bytes after the trailer");
  return trailer;
}

Result<void> Decoder::read_index() {
  const std::uint8_t end = 0;
  index_crc_.update(Bytes(&end, 1));
  index_size_ += 1;
  Crc64 found;
  std::uint8_t chunk[4096];
  for (std::uint64_t rest = index_size_; rest > 0;) {
    MutableBytes part =
        MutableBytes(chunk).first(static_cast<std::size_t>(std::min<std::uint64_t>(rest, sizeof chunk)));
    RILL_TRY(read_exact(part));
    found.update(part);
    crc_.update(part);
    rest -= part.size();
  }
  std::uint8_t size[8];
  RILL_TRY(read_exact(size));
  crc_.update(size);
  if (found.value() != index_crc_.value() || load_be<std::uint64_t>(size) != index_size_) {
    return corrupt("page index does not match the pages");
  }
  return {};
}

Result<void> Decoder::read_body(MutableBytes into) {
  return *format_ == Format::kV1Frame ? inflate(into, false) : read_exact(into);
}

Result<void> Decoder::inflate(MutableBytes into, bool to_end) {
  // One byte more than wanted is asked for at the end, so that a frame that is too long shows.
  std::uint8_t excess[1];
  for (;;) {
    if (into.empty() && (!to_end || frame_->ended())) return {};
    if (frame_->ended()) return corrupt("LZ4 frame holds less than it should");
    RILL_ASSIGN(Bytes input, peek(1));
    if (input.empty()) return corrupt("file ends within an LZ4 frame");
    RILL_ASSIGN(FrameReader::Step step, frame_->step(input, into.empty() ? MutableBytes(excess) : into));
    consume(step.consumed);
    if (into.empty() && step.produced != 0) return corrupt("LZ4 frame holds more than it should");
    into = into.subspan(step.produced);
    if (step.consumed == 0 && step.produced == 0 && !frame_->ended())
      return corrupt("LZ4 frame makes no progress");
  }
}

Result<void> Decoder::read_exact(MutableBytes into) {
  while (!into.empty()) {
    RILL_ASSIGN(Bytes input, peek(1));
    if (input.empty()) return corrupt("file ends early, after " + std::to_string(offset_) + " bytes");
    std::size_t size = std::min(input.size(), into.size());
    std::copy_n(input.begin(), size, into.begin());
    consume(size);
    into = into.subspan(size);
  }
  return {};
}

Result<Bytes> Decoder::peek(std::size_t size) {
  if (input_end_ - input_begin_ < size && input_begin_ != 0) {
    std::copy(&input_[input_begin_], &input_[input_end_], &input_[0]);
    input_end_ -= input_begin_;
    input_begin_ = 0;
  }
  while (input_end_ - input_begin_ < size) {
    const MutableBytes room(&input_[input_end_], kInputSize - input_end_);
    RILL_ASSIGN(std::size_t got, source_.read(room));
    if (got == 0) break;
    input_end_ += got;
  }
  return Bytes(&input_[input_begin_], input_end_ - input_begin_);
}

void Decoder::consume(std::size_t size) {
  input_begin_ += size;
  offset_ += size;
}

Result<Summary> verify(ByteSource& source, std::optional<Format> format) {
  Decoder decoder(source, format);
  Summary summary;
  RILL_ASSIGN(summary.header, decoder.begin());
  for (;; ++summary.page_count) {
    RILL_ASSIGN(std::optional<Page> page, decoder.next());
    if (!page) break;
  }
  RILL_ASSIGN(summary.trailer, decoder.finish());
  summary.size = decoder.size();
  return summary;
}

}  // namespace rillfs::ltx
