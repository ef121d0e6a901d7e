// The wal-index's header. Input: one byte (bit 0: the checksum is made right), then the header.
#include "fs/sqlite/wal_index.h"

#include "support/target.h"

RILL_FUZZ_TARGET(wal_index) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  if (input.empty()) return;
  Buffer bytes(input.begin() + 1, input.end());
  if ((input[0] & 1) && bytes.size() >= sqlite::kIndexHeaderSize) {
    sqlite::WalChecksum sum;
    sum.update(Bytes(bytes).first(40), sqlite::kHostWordOrder);
    store_host(&bytes[40], sum.first);
    store_host(&bytes[44], sum.second);
  }
  auto header = sqlite::parse_wal_index_header(bytes);
  if (!header) return;
  const auto again = sqlite::encode_wal_index_header(*header);
  auto parsed = sqlite::parse_wal_index_header(again);
  require(parsed.has_value(), "what was encoded parses");
  require(sqlite::encode_wal_index_header(*parsed) == again, "encoding is canonical");
  // Bytes 4..7 are unused, and any value but 0 means "initialised".
  if (load_host<std::uint32_t>(&bytes[4]) == 0 && bytes[12] == 1)
    require(std::equal(again.begin(), again.end(), bytes.begin()), "a header encodes to the same bytes");
}
