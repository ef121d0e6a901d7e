// node.id and cluster.json. Input: size of node.id (1 byte), node.id, cluster.json.
#include "replication/node.h"
#include "support/input.h"
#include "support/memory_file_system.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

struct FixedRandom final : Random {
  std::uint64_t next() override { return 4; }
};

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(node_identity) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  MemoryFileSystem files;
  FixedRandom random;
  if (const std::uint8_t size = in.byte()) files.put("data/node.id", in.bytes(size));
  files.put("data/cluster.json", in.rest());
  const auto before = files.contents();
  auto node = Node::open(files, "data", random);
  if (!node) {
    require(files.contents() == before, "what cannot be read is not replaced");
    return;
  }
  const Membership membership = (*node)->membership();
  if ((*node)->become_primary(random)) {
    auto again = Node::open(files, "data", random);
    require(again.has_value(), "what was written opens");
    require((*again)->membership() == (*node)->membership() && (*again)->id() == (*node)->id(),
            "it comes back");
    require((*again)->membership().epoch >= membership.epoch, "the epoch never goes back");
  }
}
