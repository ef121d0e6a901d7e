// LTX's checksums: CRC-64/GO-ISO with bit 63 forced on, over pages and over files.
//
// The rolling checksum of a database is the XOR of its pages' checksums (Checksum::toggled); the lock page is
// left out. Since a CRC is affine, that XOR does not bind content to page number: two swapped pages sum to
// the same value. It is kept because it is the LTX standard; log/content_hash.h is the hash that can tell.
#pragma once

#include "replication/base/bytes.h"
#include "replication/base/types.h"

namespace rillfs::ltx {

/// A running CRC-64/GO-ISO (reflected polynomial D800000000000000, inverted in and out).
class Crc64 {
 public:
  void update(Bytes bytes);
  std::uint64_t value() const { return value_; }
  /// The value as LTX stores it.
  Checksum checksum() const { return Checksum{Checksum::kFlag | value_}; }

 private:
  std::uint64_t value_ = 0;
};

/// Checksum of one page: big-endian page number, then the page.
Checksum page_checksum(Pgno pgno, Bytes page);

/// The page that contains SQLite's lock bytes (offset 0x40000000). It never holds data and is in no LTX file.
constexpr Pgno lock_pgno(std::uint32_t page_size) { return Pgno{0x40000000u / page_size + 1}; }

}  // namespace rillfs::ltx
