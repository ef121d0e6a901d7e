// Writes one LTX file (v3/block, see page_frame.h) to a sink, page by page.
//
//   Encoder encoder(sink);
//   RILL_TRY(encoder.begin(header));
//   for (...) RILL_TRY(encoder.page(pgno, data));
//   RILL_ASSIGN(ltx::Trailer trailer, encoder.finish(post_apply));
//
// Memory: a page, and about 8 bytes a page for the index. Pages cost no allocation (the index grows
// geometrically); an encoder that is used again keeps its buffers.
// Threads: one. Errors: kInvalid for what LTX does not allow, else the sink's; after an error, only begin().
#pragma once

#include "replication/base/byte_stream.h"
#include "replication/ltx/page_frame.h"

namespace rillfs::ltx {

class Encoder {
 public:
  /// `sink` must outlive the encoder.
  explicit Encoder(ByteSink& sink) : sink_(sink) {}

  /// Starts a file. Any unfinished one is forgotten (what the sink got of it stays there).
  Result<void> begin(const Header& header);
  /// Ascending; in a snapshot every page but the lock page. `data` has page_size bytes.
  Result<void> page(Pgno pgno, Bytes data);
  /// The same where the page's LZ4 block is at hand: `data` is what it expands to.
  Result<void> page(Pgno pgno, Bytes data, Bytes block);
  /// `post_apply`: rolling checksum of the database afterwards; 0 without checksums.
  Result<Trailer> finish(Checksum post_apply);

  /// Bytes given to the sink since begin().
  std::uint64_t size() const { return size_; }

 private:
  Bytes compressed(Bytes data);
  Result<void> write(Bytes bytes);

  ByteSink& sink_;
  std::optional<Header> header_;  ///< set while pages may come
  std::optional<PageOrder> order_;
  Crc64 crc_;
  Buffer block_;
  Buffer index_;
  std::uint64_t size_ = 0;
};

}  // namespace rillfs::ltx
