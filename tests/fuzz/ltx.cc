// LTX files of every version. Input: one byte (bits 0-2: the format that is asked for, 5 and more: found out;
// bit 3: completed as that format), then the file.
#include "replication/ltx/compactor.h"
#include "replication/ltx/encoder.h"
#include "support/complete_ltx.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

struct Decoded {
  ltx::Header header;
  std::vector<std::pair<Pgno, Buffer>> pages;
  ltx::Trailer trailer;
};

Result<Decoded> decode(Bytes file, std::optional<ltx::Format> format) {
  BufferSource source(file);
  ltx::Decoder decoder(source, format);
  Decoded decoded;
  RILL_ASSIGN(decoded.header, decoder.begin());
  std::size_t bytes = 0;
  for (;;) {
    RILL_ASSIGN(auto page, decoder.next());
    if (!page) break;
    require(page->data.size() == decoded.header.page_size, "a page has the page size");
    require(page->pgno.value != 0 && page->pgno <= decoded.header.commit, "a page is in the database");
    require(decoded.pages.empty() || decoded.pages.back().first < page->pgno, "pages ascend");
    bytes += page->data.size();
    // A page of zeroes takes 30 bytes of file: the rest is counted, not kept.
    if (bytes <= 8 << 20)
      decoded.pages.emplace_back(page->pgno, Buffer(page->data.begin(), page->data.end()));
  }
  RILL_ASSIGN(decoded.trailer, decoder.finish());
  require(decoder.size() == file.size(), "all of the file was read");
  if (bytes > 8 << 20) return make_error(ErrorCode::kUnsupported, "too large to compare");
  return decoded;
}

Buffer encode(const Decoded& decoded) {
  Buffer file;
  BufferSink sink(file);
  ltx::Encoder encoder(sink);
  ltx::Header header = decoded.header;
  header.flags &= ~ltx::kFlagWholeFrame;
  require(encoder.begin(header).has_value(), "what was decoded can be encoded: header");
  for (const auto& [pgno, page] : decoded.pages)
    require(encoder.page(pgno, page).has_value(), "what was decoded can be encoded: page");
  require(encoder.finish(decoded.trailer.post_apply).has_value(), "what was decoded can be encoded: end");
  return file;
}

void check_header(Bytes file, const ltx::Header& header) {
  const ltx::HeaderBytes again = ltx::encode(header);
  require(std::equal(again.begin(), again.begin() + 80, file.begin()), "a header encodes to the same bytes");
}

/// Merging takes files as a log holds them, without verifying them; alone, one stays what it was.
void compact(Bytes file, const Result<Decoded>& decoded) {
  ltx::Compactor compactor;
  const auto added = compactor.add(file);
  if (!added) require(!decoded || decoded->header.flags != 0, "what does not hold together does not decode");
  if (!added || !*added) return;
  const auto merged = compactor.finish();
  if (!decoded) return;
  require(merged.has_value(), "what decodes can be merged");
  const auto again = decode(*merged, ltx::Format::kV3Block);
  require(again && again->pages == decoded->pages, "the same pages come out of it");
  require(again->trailer.post_apply == decoded->trailer.post_apply, "with the same sum");
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(ltx) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  if (input.empty()) return;
  const int mode = input[0];
  std::optional<ltx::Format> format;
  if ((mode & 7) < 5) format = static_cast<ltx::Format>(mode & 7);
  Buffer file(input.begin() + 1, input.end());
  if (mode & 8) file = complete_ltx(file, format.value_or(ltx::Format::kV3Block));
  auto decoded = decode(file, format);
  if (!decoded || decoded->header.commit != Pgno{}) compact(file, decode(file, ltx::Format::kV3Block));
  if (!decoded) {
    require(decoded.error().code == ErrorCode::kCorrupt || decoded.error().code == ErrorCode::kUnsupported,
            "what does not verify is corrupt");
    return;
  }
  check_header(file, decoded->header);
  if (decoded->header.commit == Pgno{} && !decoded->header.has_checksums()) return;  // is read, never written
  const Buffer once = encode(*decoded);
  auto again = decode(once, ltx::Format::kV3Block);
  require(again.has_value(), "what was encoded decodes");
  require(again->pages == decoded->pages, "the same pages come back");
  require(again->trailer.post_apply == decoded->trailer.post_apply, "the same sum comes back");
  require(encode(*again) == once, "encoding is canonical");
}
