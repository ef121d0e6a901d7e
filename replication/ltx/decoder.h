// Reads one LTX file of any version from a source, page by page, and verifies all of it.
//
//   Decoder decoder(source);
//   RILL_ASSIGN(ltx::Header header, decoder.begin());
//   for (;;) {
//     RILL_ASSIGN(auto page, decoder.next());
//     if (!page) break;
//     ...
//   }
//   RILL_ASSIGN(ltx::Trailer trailer, decoder.finish());   // only now is any of it known to be true
//
// Input is hostile: every length is bounded before use, memory does not depend on the number of pages (about
// 200 KiB; for pages in LZ4 frames up to 8 MiB more, as the frame asks). The index must be, byte for byte,
// the one that follows from the frames, and nothing may follow the trailer.
//
// No version is stored in LTX files. begin() tells them apart by what the first page frame looks like; a v1
// file without compression whose first page begins like the rest of a v3 page header could be mistaken for
// one. That cannot succeed (the file checksum differs); a caller that knows the format should say so.
//
// Threads: one. Errors: kCorrupt for everything that does not verify, else the source's. After an error the
// decoder is of no more use.
#pragma once

#include <memory>

#include "replication/base/byte_stream.h"
#include "replication/ltx/page_frame.h"

namespace rillfs::ltx {

enum class Format { kV1Raw, kV1Frame, kV2, kV3Frame, kV3Block };

struct Page {
  Pgno pgno;
  Bytes data;  ///< page_size bytes, valid until the next call
};

class FrameReader;

class Decoder {
 public:
  /// `source` gives exactly one file and must outlive the decoder. With `format`, no other is accepted.
  explicit Decoder(ByteSource& source, std::optional<Format> format = std::nullopt);
  ~Decoder();

  Result<Header> begin();
  /// The next page; nothing after the last.
  Result<std::optional<Page>> next();
  /// After the last page: verifies index, checksums, and that a snapshot is complete.
  Result<Trailer> finish();

  /// Valid after begin().
  Format format() const { return *format_; }
  /// Bytes of the file read so far; after finish() its size.
  std::uint64_t size() const { return offset_; }

 private:
  enum class State { kStart, kPages, kPagesDone, kFinished, kFailed };

  Result<std::optional<Page>> next_page();
  Result<Trailer> finish_file();
  Result<Format> detect();
  Result<Pgno> read_page_header();
  Result<void> read_block();
  Result<void> read_index();

  /// Exactly these bytes of the file; kCorrupt if it ends before.
  Result<void> read_exact(MutableBytes into);
  /// Like read_exact, through the LZ4 frame around the pages of a v1 file.
  Result<void> read_body(MutableBytes into);
  /// Makes up to `size` bytes of input available without consuming them; fewer at the end of the file.
  Result<Bytes> peek(std::size_t size);
  void consume(std::size_t size);
  /// Decompresses the current LZ4 frame into `into`, exactly. With `to_end` the frame must end there.
  Result<void> inflate(MutableBytes into, bool to_end);

  ByteSource& source_;
  std::optional<Format> format_;
  State state_ = State::kStart;
  Header header_;
  std::optional<PageOrder> order_;
  Crc64 crc_;        ///< of the logical file
  Crc64 index_crc_;  ///< of the index that the frames imply
  std::uint64_t index_size_ = 0;
  Buffer page_;
  Buffer compressed_;
  std::unique_ptr<std::uint8_t[]> input_;  ///< read ahead: [input_begin_, input_end_) is not consumed yet
  std::size_t input_begin_ = 0;
  std::size_t input_end_ = 0;
  std::uint64_t offset_ = 0;  ///< in the file, of what is consumed
  std::unique_ptr<FrameReader> frame_;
};

struct Summary {
  Header header;
  Trailer trailer;
  std::uint64_t size = 0;  ///< bytes of the file
  std::uint64_t page_count = 0;
};
/// Decodes the whole file and throws the pages away.
Result<Summary> verify(ByteSource& source, std::optional<Format> format = std::nullopt);

}  // namespace rillfs::ltx
