// Goal: a replay base comes back as it was recorded, and damage is an error, never an exception or a wrong
// base.
#include "fs/replay_base.h"

#include "unit/fs/sqlite_support.h"

namespace rillfs::test {
namespace {

TEST(ReplayBase, RoundTripAndEveryFlippedByte) {
  PosixFileSystem files;
  TemporaryDirectory data;
  const std::string directory = data.file("");
  Content content(Position{Epoch{3}, Txid{7}, {}}, 4096, {Checksum::kFlag | 11, Checksum::kFlag | 22});
  content = Content({Epoch{3}, Txid{7}, content.sum()}, 4096, content.sums());
  ASSERT_TRUE(save_base(files, directory, content.position(), content));
  auto loaded = load_base(files, directory);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->base.position, content.position());
  EXPECT_EQ(loaded->content.sums(), content.sums());
  const std::string path = data.file("base.json");
  const Buffer good = read_all(path);
  for (const char* text :
       {"", "[]", "{\"base\":1,\"sums_at\":2}", "{\"base\":{\"txid\":5},\"sums_at\":{}}"}) {
    const std::string bad = text;
    write_all(path, Bytes(reinterpret_cast<const std::uint8_t*>(bad.data()), bad.size()));
    EXPECT_FALSE(load_base(files, directory)) << bad;
  }
  write_all(path, good);
  const std::string sums = data.file("pages-0000000000000007.crc");
  const Buffer intact = read_all(sums);
  for (std::size_t i = 0; i < intact.size(); ++i) {
    Buffer bad = intact;
    bad[i] ^= 1;
    write_all(sums, bad);
    auto damaged = load_base(files, directory);
    EXPECT_TRUE(!damaged || damaged->content.sums() == content.sums()) << i;
  }
}

}  // namespace
}  // namespace rillfs::test
