#include "replication/log/segment.h"

#include "replication/ltx/checksum.h"
#include "replication/ltx/header.h"

namespace rillfs::log {
namespace {

constexpr std::uint8_t kSegmentMagic[8] = {'R', 'I', 'L', 'L', 'S', 'E', 'G', '1'};
constexpr std::uint8_t kRecordMagic[4] = {'R', 'R', 'E', 'C'};
constexpr std::uint32_t kVersion = 1;
constexpr std::string_view kSuffix = ".seg";
constexpr std::uint64_t kImageSizeMax = std::uint64_t{1} << 48;

std::uint64_t crc_of(Bytes bytes) {
  ltx::Crc64 crc;
  crc.update(bytes);
  return crc.value();
}

/// The last 8 of `bytes` are the CRC of the rest.
void seal(MutableBytes bytes) { store_be(&bytes[bytes.size() - 8], crc_of(bytes.first(bytes.size() - 8))); }
bool is_sealed(Bytes bytes) {
  return load_be<std::uint64_t>(&bytes[bytes.size() - 8]) == crc_of(bytes.first(bytes.size() - 8));
}

std::uint64_t u64(Bytes bytes, std::size_t offset) { return load_be<std::uint64_t>(&bytes[offset]); }

bool is_sensible(const RecordInfo& record) {
  return (record.flags & ~(kSnapshot | kPrepared)) == 0 && record.min_txid != Txid{} &&
         record.max_txid >= record.min_txid && record.image_size <= kImageSizeMax &&
         record.log_offset >= record_size(record.image_size);
}

}  // namespace

SegmentHeaderBytes encode(const SegmentHeader& header) {
  SegmentHeaderBytes bytes{};
  std::copy(std::begin(kSegmentMagic), std::end(kSegmentMagic), bytes.begin());
  store_be(&bytes[8], kVersion);
  store_be(&bytes[16], header.database.value);
  store_be(&bytes[24], header.start.position.epoch.value);
  store_be(&bytes[32], header.start.position.txid.value);
  store_be(&bytes[40], header.start.position.checksum.value);
  store_be(&bytes[48], header.start.hash.hi);
  store_be(&bytes[56], header.start.hash.lo);
  store_be(&bytes[64], header.start.log_offset);
  store_be(&bytes[72], static_cast<std::uint64_t>(header.start.timestamp_ms));
  seal(bytes);
  return bytes;
}

Result<SegmentHeader> parse_segment_header(Bytes bytes) {
  bytes = bytes.first(kSegmentHeaderSize);
  if (!std::equal(std::begin(kSegmentMagic), std::end(kSegmentMagic), bytes.begin()) || !is_sealed(bytes)) {
    return make_error(ErrorCode::kCorrupt, "segment header does not verify");
  }
  if (load_be<std::uint32_t>(&bytes[8]) != kVersion) {
    return make_error(ErrorCode::kUnsupported, "log segment of a later format; use a newer rillfs");
  }
  SegmentHeader header;
  header.database = DatabaseId{u64(bytes, 16)};
  header.start.position = {Epoch{u64(bytes, 24)}, Txid{u64(bytes, 32)}, Checksum{u64(bytes, 40)}};
  header.start.hash = {u64(bytes, 48), u64(bytes, 56)};
  header.start.log_offset = u64(bytes, 64);
  header.start.timestamp_ms = static_cast<std::int64_t>(u64(bytes, 72));
  return header;
}

EnvelopeBytes encode(const RecordInfo& record) {
  EnvelopeBytes bytes{};
  std::copy(std::begin(kRecordMagic), std::end(kRecordMagic), bytes.begin());
  store_be(&bytes[4], record.flags);
  store_be(&bytes[8], record.image_size);
  store_be(&bytes[16], record.epoch.value);
  store_be(&bytes[24], record.min_txid.value);
  store_be(&bytes[32], record.max_txid.value);
  store_be(&bytes[40], record.pre.value);
  store_be(&bytes[48], record.post.value);
  store_be(&bytes[56], record.hash.hi);
  store_be(&bytes[64], record.hash.lo);
  store_be(&bytes[72], record.commit.value);
  store_be(&bytes[76], record.page_size);
  store_be(&bytes[80], static_cast<std::uint64_t>(record.timestamp_ms));
  store_be(&bytes[88], record.log_offset);
  store_be(&bytes[96], record.synced_txid.value);
  store_be(&bytes[104], record.image_checksum.value);
  store_be(&bytes[112], record.database.value);
  store_be(&bytes[120], record.pre_epoch.value);
  seal(bytes);
  return bytes;
}

std::optional<RecordInfo> parse_envelope(Bytes bytes) {
  bytes = bytes.first(kEnvelopeSize);
  if (!std::equal(std::begin(kRecordMagic), std::end(kRecordMagic), bytes.begin()) || !is_sealed(bytes))
    return {};
  RecordInfo record;
  record.flags = load_be<std::uint32_t>(&bytes[4]);
  record.image_size = u64(bytes, 8);
  record.epoch = Epoch{u64(bytes, 16)};
  record.min_txid = Txid{u64(bytes, 24)};
  record.max_txid = Txid{u64(bytes, 32)};
  record.pre = Checksum{u64(bytes, 40)};
  record.post = Checksum{u64(bytes, 48)};
  record.hash = {u64(bytes, 56), u64(bytes, 64)};
  record.commit = Pgno{load_be<std::uint32_t>(&bytes[72])};
  record.page_size = load_be<std::uint32_t>(&bytes[76]);
  record.timestamp_ms = static_cast<std::int64_t>(u64(bytes, 80));
  record.log_offset = u64(bytes, 88);
  record.synced_txid = Txid{u64(bytes, 96)};
  record.image_checksum = Checksum{u64(bytes, 104)};
  record.database = DatabaseId{u64(bytes, 112)};
  record.pre_epoch = Epoch{u64(bytes, 120)};
  if (!is_sensible(record)) return {};
  return record;
}

Result<void> check_follows(const NewRecord& record, const LogState& state) {
  auto mismatch = [&](const char* what) {
    return make_error(ErrorCode::kPositionMismatch, std::string("change set ") +
                                                        to_hex(record.min_txid.value) + "-" +
                                                        to_hex(record.max_txid.value) + " does not follow " +
                                                        to_text(state.position) + ": " + what);
  };
  if (record.min_txid == Txid{} || record.max_txid < record.min_txid) return mismatch("no txid range");
  if (record.flags & kSnapshot) return {};
  if (record.epoch < state.position.epoch) return mismatch("older epoch");
  if (record.min_txid != state.position.txid.next()) return mismatch("txids not contiguous");
  if (record.pre != state.position.checksum) return mismatch("other checksum");
  return {};
}

Result<void> check_image(const NewRecord& record, Bytes ltx_header, Bytes ltx_trailer) {
  auto parsed = ltx::parse_header(ltx_header);
  if (!parsed) return make_error(ErrorCode::kInvalid, "log: " + parsed.error().message);
  const ltx::Header& header = *parsed;
  const bool same = header.min_txid == record.min_txid && header.max_txid == record.max_txid &&
                    (header.pre_apply == record.pre || !header.pre_apply.present()) &&
                    header.commit == record.commit && header.page_size == record.page_size &&
                    header.timestamp_ms == record.timestamp_ms &&
                    ltx::parse_trailer(ltx_trailer).post_apply == record.post;
  if (!same) return make_error(ErrorCode::kInvalid, "log: the LTX image is not the one that is announced");
  return {};
}

std::string segment_name(Txid first) { return to_hex(first.value) + std::string(kSuffix); }

std::optional<Txid> parse_segment_name(std::string_view name) {
  if (name.size() != 16 + kSuffix.size() || name.substr(16) != kSuffix) return {};
  auto first = from_hex(name.substr(0, 16));
  if (!first || segment_name(Txid{*first}) != name) return {};
  return Txid{*first};
}

}  // namespace rillfs::log
