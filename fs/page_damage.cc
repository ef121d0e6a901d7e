#include "fs/page_damage.h"

namespace rillfs {

std::string to_text(const PageDamage& damage) {
  const std::string where = "page " + std::to_string(damage.pgno.value) + " (bytes " +
                            std::to_string(damage.offset) + " to " +
                            std::to_string(damage.offset + damage.page_size - 1) + " of the " +
                            (damage.in_wal ? "WAL" : "file") + ")";
  if (!damage.error.empty()) return where + " cannot be read: " + damage.error;
  return where + " is not what was committed: its checksum is " + to_hex(damage.found.value) +
         " and should be " + to_hex(damage.expected.value);
}

}  // namespace rillfs
