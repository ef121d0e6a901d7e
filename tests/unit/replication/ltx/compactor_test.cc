// Goal: the merged file leads where its parts lead, with each page once; what cannot be merged is left alone.
// Method: random transactions of a model database that grows and shrinks; each rule broken; every truncation
// and flipped bit of a part.
#include "replication/ltx/compactor.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "replication/ltx/decoder.h"
#include "replication/ltx/encoder.h"

namespace rillfs::ltx {
namespace {

constexpr std::uint32_t kPageSize = 512;
using Pages = std::map<Pgno, Buffer>;

struct File {
  Header header;
  Pages pages;
  Trailer trailer;
};

/// What is made here verifies.
File decode(Bytes bytes) {
  BufferSource source(bytes);
  Decoder decoder(source, Format::kV3Block);
  File file;
  const auto header = decoder.begin();
  EXPECT_TRUE(header) << header.error().message;
  file.header = *header;
  for (;;) {
    auto page = decoder.next();
    EXPECT_TRUE(page) << page.error().message;
    if (!page || !*page) break;
    file.pages.emplace((*page)->pgno, Buffer((*page)->data.begin(), (*page)->data.end()));
  }
  const auto trailer = decoder.finish();
  EXPECT_TRUE(trailer) << trailer.error().message;
  file.trailer = *trailer;
  return file;
}

/// A file of which only the header counts.
Buffer file_with(const Header& header) {
  Buffer file(kHeaderSize + 64);
  const HeaderBytes bytes = encode(header);
  std::copy(bytes.begin(), bytes.end(), file.begin());
  return file;
}

/// A database that is changed by LTX files.
class Model {
 public:
  explicit Model(std::uint32_t seed) : random_(seed) {}

  /// The next transaction: some pages, and all by which the database grows.
  Buffer transaction(std::uint32_t commit) {
    Pages changed;
    for (int i = 0; i < 3; ++i) changed[Pgno{1 + static_cast<std::uint32_t>(random_()) % commit}] = content();
    for (Pgno pgno{static_cast<std::uint32_t>(pages.size()) + 1}; pgno.value <= commit; pgno = pgno.next())
      changed[pgno] = content();
    return transaction(commit, changed);
  }
  Buffer transaction(std::uint32_t commit, const Pages& changed) {
    Header header{.page_size = kPageSize,
                  .commit = Pgno{commit},
                  .min_txid = txid.next(),
                  .max_txid = txid.next(),
                  .timestamp_ms = 1000 + static_cast<std::int64_t>(txid.value),
                  .pre_apply = sum,
                  .wal_offset = 32,
                  .wal_size = 536,
                  .wal_salt1 = 7,
                  .wal_salt2 = 8,
                  .node = NodeId{9}};
    apply(changed, Pgno{commit});
    txid = txid.next();
    Buffer file;
    BufferSink sink(file);
    Encoder encoder(sink);
    EXPECT_TRUE(encoder.begin(header));
    for (const auto& [pgno, page] : changed) EXPECT_TRUE(encoder.page(pgno, page));
    EXPECT_TRUE(encoder.finish(sum));
    return file;
  }
  void apply(const Pages& changed, Pgno commit) {
    for (const auto& [pgno, page] : changed) pages.insert_or_assign(pgno, page);
    std::erase_if(pages, [&](const auto& page) { return page.first > commit; });
    sum = Checksum::empty();
    for (const auto& [pgno, page] : pages) sum = sum.toggled(page_checksum(pgno, page));
  }
  /// Applies the file, which must verify and lead exactly to its checksum. The number of its pages.
  std::size_t apply(Bytes file) {
    const auto [header, changed, trailer] = decode(file);
    EXPECT_EQ(header.min_txid, txid.next());
    EXPECT_EQ(header.pre_apply, sum);
    apply(changed, header.commit);
    EXPECT_EQ(trailer.post_apply, sum);
    txid = header.max_txid;
    return changed.size();
  }

  Pages pages;
  Txid txid{5};
  Checksum sum = Checksum::empty();

 private:
  Buffer content() {
    Buffer page(kPageSize);
    for (std::size_t i = 0; i < page.size(); i += 1 + random_() % 64)
      page[i] = static_cast<std::uint8_t>(random_());
    return page;
  }
  std::mt19937 random_;
};

Compactor merged(const std::vector<Buffer>& files) {
  Compactor compactor;
  for (const Buffer& file : files) EXPECT_TRUE(*compactor.add(file));
  return compactor;
}

}  // namespace

TEST(LtxCompactor, LeadsWhereItsPartsLead) {
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    Model model(seed);
    std::mt19937 random(seed);
    (void)model.transaction(1 + random() % 20);
    Model merging = model;
    std::vector<Buffer> files;
    std::size_t pages = 0;
    for (std::uint32_t count = 1 + random() % 20; count > 0; --count) {
      files.push_back(model.transaction(1 + random() % 20));
      pages += merging.apply(files.back());
    }
    Model once(seed);
    std::mt19937 again(seed);
    (void)once.transaction(1 + again() % 20);
    const auto file = merged(files).finish();
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_LE(once.apply(*file), std::min<std::size_t>(pages, 20));
    ASSERT_EQ(once.pages, model.pages) << "seed " << seed;
    EXPECT_EQ(once.txid, model.txid);
  }
}

TEST(LtxCompactor, TellsOfItsPartsWhatConcernsThemAll) {
  Model model(1);
  (void)model.transaction(3);
  const Checksum before = model.sum;
  const auto file = merged({model.transaction(3), model.transaction(4), model.transaction(2)}).finish();
  const Header header = *parse_header(*file);
  EXPECT_EQ(header.min_txid, Txid{7});
  EXPECT_EQ(header.max_txid, Txid{9});
  EXPECT_EQ(header.pre_apply, before);
  EXPECT_EQ(header.commit, Pgno{2});
  EXPECT_EQ(header.timestamp_ms, 1008);
  EXPECT_EQ(header.wal_offset, 0) << "it comes from no one place of a WAL";
  EXPECT_EQ(header.node, NodeId{});
  EXPECT_EQ(parse_trailer(Bytes(*file).last(kTrailerSize)).post_apply, model.sum);
}

TEST(LtxCompactor, LeavesAloneWhatDoesNotFollow) {
  Model model(2);
  (void)model.transaction(3);
  const Model before = model;
  const Buffer first = model.transaction(3);
  (void)model.transaction(3);
  const Buffer third = model.transaction(3);
  Compactor compactor = merged({first});
  EXPECT_FALSE(*compactor.add(third)) << "one is left out";
  EXPECT_FALSE(*compactor.add(first)) << "again";
  Model branch = before;
  (void)branch.transaction(4);
  EXPECT_FALSE(*compactor.add(branch.transaction(4))) << "another history";
  EXPECT_EQ(compactor.count(), 1u);
}

TEST(LtxCompactor, LeavesAloneWhatIsOfAnotherKind) {
  const auto refuses = [](const Header& header) {
    const auto added = Compactor().add(file_with(header));
    return added && !*added;
  };
  const Checksum sum = Checksum::empty();
  const Header good{
      .page_size = 512, .commit = Pgno{1}, .min_txid = Txid{2}, .max_txid = Txid{2}, .pre_apply = sum};
  EXPECT_FALSE(refuses(good));
  Header header = good;
  header.min_txid = Txid{1}, header.pre_apply = Checksum{};
  EXPECT_TRUE(refuses(header)) << "a snapshot";
  header = good, header.flags = kFlagNoChecksum, header.pre_apply = Checksum{};
  EXPECT_TRUE(refuses(header)) << "no checksums";
  header = good, header.flags = kFlagWholeFrame;
  EXPECT_TRUE(refuses(header)) << "one LZ4 frame";
  header = good, header.commit = Pgno{};
  EXPECT_TRUE(refuses(header)) << "a deletion";
  Model model(3);
  (void)model.transaction(2);
  Compactor compactor = merged({model.transaction(2)});
  header = good, header.page_size = 1024, header.min_txid = header.max_txid = model.txid.next();
  header.pre_apply = model.sum;
  EXPECT_FALSE(*compactor.add(file_with(header))) << "another page size";
}

// A damaged part is refused, or makes a file that does not lead to its checksum: never one that looks right.
TEST(LtxCompactor, NeverMakesDamageLookRight) {
  Model start(4);
  (void)start.transaction(3);
  Model model = start;
  const Buffer first = model.transaction(3);
  const Buffer second = model.transaction(4);
  for (std::size_t size = 0; size < second.size(); ++size) {
    Compactor compactor = merged({first});
    const auto added = compactor.add(Bytes(second).first(size));
    if (!added) continue;
    const auto file = compactor.finish();
    EXPECT_TRUE(!*added || !file || parse_trailer(Bytes(*file).last(kTrailerSize)).post_apply != model.sum);
  }
  for (std::size_t bit = 0; bit < second.size() * 8; ++bit) {
    Buffer damaged = second;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    Compactor compactor = merged({first});
    const auto added = compactor.add(damaged);
    if (!added || !*added) continue;
    const auto file = compactor.finish();
    if (!file) continue;
    Model once = start;
    const auto [header, changed, trailer] = decode(*file);
    once.apply(changed, header.commit);
    EXPECT_TRUE(once.sum != trailer.post_apply || once.pages == model.pages) << "bit " << bit;
  }
}

}  // namespace rillfs::ltx
