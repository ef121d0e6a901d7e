// base.json and the page checksums beside it. Input: one byte (bit 0: the checksum file is made right), size
// of base.json (2 bytes), base.json, the checksum file.
#include "fs/replay_base.h"

#include "replication/ltx/checksum.h"
#include "support/input.h"
#include "support/memory_file_system.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

/// The header and the CRC that belong to these page checksums.
void mend(Buffer& sums) {
  if (sums.size() < 40) return;
  sums.resize(40 + (sums.size() - 40) / 8 * 8);
  ltx::Crc64 crc;
  crc.update(Bytes(sums).subspan(40));
  store_be(&sums[0], std::uint64_t{0x52494c4c43524331});
  store_be(&sums[28], static_cast<std::uint32_t>((sums.size() - 40) / 8));
  store_be(&sums[32], crc.value());
}

void put_sums(MemoryFileSystem& files, Bytes sums) {
  if (sums.size() < 16) return;
  files.put("db/pages-" + to_hex(load_be<std::uint64_t>(&sums[8])) + ".crc", sums);
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(replay_base) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  const bool mends = in.byte() & 1;
  MemoryFileSystem files;
  files.put("db/base.json", in.bytes(in.number<std::uint16_t>()));
  Bytes rest = in.rest();
  Buffer sums(rest.begin(), rest.end());
  if (mends) mend(sums);
  put_sums(files, sums);
  auto stored = load_base(files, "db");
  if (!stored) return;
  require(stored->base.position.txid <= stored->base.sums_at.txid, "the sums are not before the base");
  // What a node would record next.
  require(save_base(files, "db", stored->base.position, stored->content).has_value(), "it can be saved");
  auto again = load_base(files, "db");
  require(again.has_value(), "what was saved loads");
  require(again->base.position == stored->base.position, "the base comes back");
  require(again->content.sums() == stored->content.sums(), "the page checksums come back");
  require(again->content.hash() == stored->content.hash(), "the content hash comes back");
  const auto once = files.contents();
  require(save_base(files, "db", again->base.position, again->content).has_value(), "it can be saved again");
  require(files.contents() == once, "saving is canonical");
}
