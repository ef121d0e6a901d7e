// WAL header and frames. Input: one byte (bit 0: checksums are made right), then the start of a WAL.
#include "fs/sqlite/wal.h"

#include "fs/sqlite/database_header.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

void seal_header(Buffer& wal) {
  sqlite::WalChecksum sum;
  sum.update(Bytes(wal).first(24), static_cast<sqlite::WordOrder>(wal[3] & 1));
  store_be(&wal[24], sum.first);
  store_be(&wal[28], sum.second);
}

void seal_frame(MutableBytes frame, const sqlite::WalHeader& header, sqlite::WalChecksum running) {
  sqlite::FrameHeader present = sqlite::parse_frame_header(frame);
  sqlite::encode_frame_header(frame.data(), present.pgno, present.commit, header.salts,
                              frame.subspan(sqlite::kFrameHeaderSize), header.order, running);
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(wal) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  if (input.empty()) return;
  const bool seals = input[0] & 1;
  Buffer wal(input.begin() + 1, input.end());
  if (seals && wal.size() >= sqlite::kWalHeaderSize) seal_header(wal);
  auto header = sqlite::parse_wal_header(wal);
  if (!header) return;
  require(sqlite::is_page_size(header->page_size), "a WAL has a page size");
  const auto again = sqlite::encode_wal_header(*header);
  require(std::equal(again.begin(), again.end(), wal.begin()), "a WAL header encodes to the same bytes");
  sqlite::WalChecksum running = header->checksum;
  for (std::uint32_t n = 1; sqlite::frame_offset(n + 1, header->page_size) <= wal.size(); ++n) {
    MutableBytes frame = MutableBytes(wal).subspan(sqlite::frame_offset(n, header->page_size),
                                                   sqlite::frame_size(header->page_size));
    if (seals) seal_frame(frame, *header, running);
    sqlite::WalChecksum before = running;
    if (!sqlite::verify_frame(frame, header->salts, header->order, running)) {
      require(running == before, "a frame that does not verify changes nothing");
      return;
    }
    const sqlite::FrameHeader parsed = sqlite::parse_frame_header(frame);
    std::uint8_t bytes[sqlite::kFrameHeaderSize];
    sqlite::encode_frame_header(bytes, parsed.pgno, parsed.commit, parsed.salts,
                                frame.subspan(sqlite::kFrameHeaderSize), header->order, before);
    require(std::equal(std::begin(bytes), std::end(bytes), frame.begin()),
            "a frame encodes to the same bytes");
    require(before == running, "both count the same checksum");
  }
}
