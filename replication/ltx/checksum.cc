#include "replication/ltx/checksum.h"

#include <isa-l/crc64.h>

namespace rillfs::ltx {

void Crc64::update(Bytes bytes) {
  if (!bytes.empty()) value_ = crc64_iso_refl(value_, bytes.data(), bytes.size());
}

Checksum page_checksum(Pgno pgno, Bytes page) {
  std::uint8_t number[4];
  store_be(number, pgno.value);
  Crc64 crc;
  crc.update(number);
  crc.update(page);
  return crc.checksum();
}

}  // namespace rillfs::ltx
