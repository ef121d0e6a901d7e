#include "replication/ltx/header.h"

#include <bit>

namespace rillfs::ltx {
namespace {

constexpr std::uint8_t kMagic[4] = {'L', 'T', 'X', '1'};
constexpr std::string_view kSuffix = ".ltx";

Error broken(const char* rule) { return make_error(ErrorCode::kInvalid, std::string("LTX: ") + rule); }

bool has_flag_bit(Checksum checksum) { return (checksum.value & Checksum::kFlag) != 0; }

Result<void> validate_pre_apply(const Header& header) {
  if (header.is_snapshot() || !header.has_checksums()) {
    if (header.pre_apply.present()) {
      return broken("pre-apply checksum on a snapshot or a file without checksums");
    }
  } else if (!has_flag_bit(header.pre_apply)) {
    return broken("pre-apply checksum missing or without its flag bit");
  }
  return {};
}

Result<void> validate_wal(const Header& header) {
  if (header.wal_offset >> 63 || header.wal_size >> 63) return broken("negative WAL offset or size");
  if (header.wal_offset != 0) return {};
  if (header.wal_size != 0) return broken("WAL size without WAL offset");
  if (header.wal_salt1 != 0 || header.wal_salt2 != 0) return broken("WAL salts without WAL offset");
  return {};
}

bool is_lower_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

Result<void> validate(const Header& header) {
  if (header.flags & ~(kFlagWholeFrame | kFlagNoChecksum)) return broken("unknown header flags");
  if (!std::has_single_bit(header.page_size) || header.page_size < kPageSizeMin ||
      header.page_size > kPageSizeMax) {
    return broken("page size is not a power of two from 512 to 65536");
  }
  if (header.commit > kPgnoMax) return broken("more pages than SQLite has numbers for");
  if (header.min_txid == Txid{}) return broken("min TXID is 0");
  if (header.max_txid < header.min_txid) return broken("max TXID before min TXID");
  RILL_TRY(validate_pre_apply(header));
  return validate_wal(header);
}

Result<void> validate(const Trailer& trailer, const Header& header) {
  if (!has_flag_bit(trailer.file)) return broken("file checksum missing or without its flag bit");
  if (!header.has_checksums()) {
    if (trailer.post_apply.present()) return broken("post-apply checksum on a file without checksums");
    return {};
  }
  if (!has_flag_bit(trailer.post_apply)) return broken("post-apply checksum missing or without its flag bit");
  if (header.commit == Pgno{} && trailer.post_apply != Checksum::empty()) {
    return broken("post-apply checksum of a deletion is not that of an empty database");
  }
  return {};
}

HeaderBytes encode(const Header& header) {
  HeaderBytes bytes{};
  std::copy(std::begin(kMagic), std::end(kMagic), bytes.begin());
  store_be(&bytes[4], header.flags);
  store_be(&bytes[8], header.page_size);
  store_be(&bytes[12], header.commit.value);
  store_be(&bytes[16], header.min_txid.value);
  store_be(&bytes[24], header.max_txid.value);
  store_be(&bytes[32], static_cast<std::uint64_t>(header.timestamp_ms));
  store_be(&bytes[40], header.pre_apply.value);
  store_be(&bytes[48], header.wal_offset);
  store_be(&bytes[56], header.wal_size);
  store_be(&bytes[64], header.wal_salt1);
  store_be(&bytes[68], header.wal_salt2);
  store_be(&bytes[72], header.node.value);
  return bytes;
}

Result<Header> parse_header(Bytes bytes) {
  if (!std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin())) {
    return make_error(ErrorCode::kCorrupt, "LTX: no LTX1 magic");
  }
  Header header;
  header.flags = load_be<std::uint32_t>(&bytes[4]);
  header.page_size = load_be<std::uint32_t>(&bytes[8]);
  header.commit = Pgno{load_be<std::uint32_t>(&bytes[12])};
  header.min_txid = Txid{load_be<std::uint64_t>(&bytes[16])};
  header.max_txid = Txid{load_be<std::uint64_t>(&bytes[24])};
  header.timestamp_ms = static_cast<std::int64_t>(load_be<std::uint64_t>(&bytes[32]));
  header.pre_apply = Checksum{load_be<std::uint64_t>(&bytes[40])};
  header.wal_offset = load_be<std::uint64_t>(&bytes[48]);
  header.wal_size = load_be<std::uint64_t>(&bytes[56]);
  header.wal_salt1 = load_be<std::uint32_t>(&bytes[64]);
  header.wal_salt2 = load_be<std::uint32_t>(&bytes[68]);
  header.node = NodeId{load_be<std::uint64_t>(&bytes[72])};
  if (auto valid = validate(header); !valid) {
    return make_error(ErrorCode::kCorrupt, valid.error().message);
  }
  return header;
}

Trailer parse_trailer(Bytes bytes) {
  return {Checksum{load_be<std::uint64_t>(&bytes[0])}, Checksum{load_be<std::uint64_t>(&bytes[8])}};
}

std::string file_name(TxidRange range) {
  return to_hex(range.min.value) + "-" + to_hex(range.max.value) + std::string(kSuffix);
}

std::optional<TxidRange> parse_file_name(std::string_view name) {
  if (name.size() != 33 + kSuffix.size() || name[16] != '-' || name.substr(33) != kSuffix) return {};
  std::string_view min = name.substr(0, 16), max = name.substr(17, 16);
  if (!is_lower_hex(min) || !is_lower_hex(max)) return {};
  return TxidRange{Txid{*from_hex(min)}, Txid{*from_hex(max)}};
}

}  // namespace rillfs::ltx
