#include "fs/sqlite/wal.h"

#include "fs/sqlite/database_header.h"

namespace rillfs::sqlite {
namespace {

constexpr std::uint32_t kMagic = 0x377f0682;  // bit 0: WordOrder
constexpr std::uint32_t kFormat = 3007000;

// The order is a template argument so that the loop of the common case is two loads and four additions.
template <bool kSwap>
void sum_words(const std::uint8_t* at, const std::uint8_t* end, std::uint32_t& first, std::uint32_t& second) {
  std::uint32_t s0 = first;
  std::uint32_t s1 = second;
  for (; at < end; at += 8) {
    std::uint32_t x = load_host<std::uint32_t>(at);
    std::uint32_t y = load_host<std::uint32_t>(at + 4);
    if constexpr (kSwap) {
      x = __builtin_bswap32(x);
      y = __builtin_bswap32(y);
    }
    s0 += x + s1;
    s1 += y + s0;
  }
  first = s0;
  second = s1;
}

void store_checksum(std::uint8_t* to, WalChecksum sum) {
  store_be(to, sum.first);
  store_be(to + 4, sum.second);
}

}  // namespace

void WalChecksum::update(Bytes bytes, WordOrder order) {
  const std::uint8_t* end = bytes.data() + bytes.size() / 8 * 8;
  if (order == kHostWordOrder) {
    sum_words<false>(bytes.data(), end, first, second);
  } else {
    sum_words<true>(bytes.data(), end, first, second);
  }
}

std::array<std::uint8_t, kWalHeaderSize> encode_wal_header(WalHeader& header) {
  std::array<std::uint8_t, kWalHeaderSize> bytes;
  std::uint8_t* to = bytes.data();
  store_be(to, kMagic | static_cast<std::uint32_t>(header.order));
  store_be(to + 4, kFormat);
  store_be(to + 8, header.page_size);
  store_be(to + 12, header.checkpoint_sequence);
  store_be(to + 16, header.salts.first);
  store_be(to + 20, header.salts.second);
  header.checksum = {};
  header.checksum.update(Bytes(to, 24), header.order);
  store_checksum(to + 24, header.checksum);
  return bytes;
}

Result<WalHeader> parse_wal_header(Bytes start_of_file) {
  if (start_of_file.size() < kWalHeaderSize)
    return make_error(ErrorCode::kCorrupt, "WAL header: fewer than 32 bytes");
  const std::uint8_t* at = start_of_file.data();
  const std::uint32_t magic = load_be<std::uint32_t>(at);
  if ((magic & ~1U) != kMagic) return make_error(ErrorCode::kCorrupt, "WAL header: bad magic");
  WalHeader header;
  header.order = static_cast<WordOrder>(magic & 1);
  header.page_size = load_be<std::uint32_t>(at + 8);
  header.checkpoint_sequence = load_be<std::uint32_t>(at + 12);
  header.salts = {load_be<std::uint32_t>(at + 16), load_be<std::uint32_t>(at + 20)};
  header.checksum.update(Bytes(at, 24), header.order);
  const WalChecksum stored{load_be<std::uint32_t>(at + 24), load_be<std::uint32_t>(at + 28)};
  if (stored != header.checksum) return make_error(ErrorCode::kCorrupt, "WAL header: bad checksum");
  if (!is_page_size(header.page_size)) return make_error(ErrorCode::kCorrupt, "WAL header: bad page size");
  const std::uint32_t format = load_be<std::uint32_t>(at + 4);
  if (format != kFormat)
    return make_error(ErrorCode::kUnsupported, "WAL header: format " + std::to_string(format));
  return header;
}

FrameHeader parse_frame_header(Bytes bytes) {
  const std::uint8_t* at = bytes.data();
  return {.pgno = Pgno{load_be<std::uint32_t>(at)},
          .commit = Pgno{load_be<std::uint32_t>(at + 4)},
          .salts = {load_be<std::uint32_t>(at + 8), load_be<std::uint32_t>(at + 12)},
          .checksum = {load_be<std::uint32_t>(at + 16), load_be<std::uint32_t>(at + 20)}};
}

void encode_frame_header(std::uint8_t* to, Pgno pgno, Pgno commit, Salts salts, Bytes page, WordOrder order,
                         WalChecksum& running) {
  store_be(to, pgno.value);
  store_be(to + 4, commit.value);
  store_be(to + 8, salts.first);
  store_be(to + 12, salts.second);
  running.update(Bytes(to, 8), order);
  running.update(page, order);
  store_checksum(to + 16, running);
}

bool verify_frame(Bytes frame, Salts salts, WordOrder order, WalChecksum& running) {
  if (frame.size() <= kFrameHeaderSize ||
      !is_page_size(static_cast<std::uint32_t>(frame.size() - kFrameHeaderSize)))
    return false;
  const FrameHeader header = parse_frame_header(frame);
  if (header.salts != salts || header.pgno.value == 0) return false;
  WalChecksum sum = running;
  sum.update(frame.first(8), order);
  sum.update(frame.subspan(kFrameHeaderSize), order);
  if (sum != header.checksum) return false;
  running = sum;
  return true;
}

}  // namespace rillfs::sqlite
