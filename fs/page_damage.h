// A page that is not what was committed.
#pragma once

#include <cstdint>
#include <string>

#include "replication/base/types.h"

namespace rillfs {

struct PageDamage {
  Pgno pgno;
  std::uint32_t page_size = 0;
  Checksum expected;         ///< of what was committed
  Checksum found;            ///< of what is there; absent if it could not be read
  bool in_wal = false;       ///< where it is: in the WAL, or in the database file
  std::uint64_t offset = 0;  ///< there, bytes
  std::string error;         ///< why it could not be read
};

/// "page 7 (bytes 24576 to 28671 of the file) is not what was committed: ..."
std::string to_text(const PageDamage& damage);

}  // namespace rillfs
