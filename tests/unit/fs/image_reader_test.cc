// Goal: a received image is read whole or refused, and only when it is the change set that was announced.
// Method: images that the encoder made, from memory and from a file; every byte flipped, every length cut.
#include "fs/image_reader.h"

#include <map>

#include "replication/ltx/checksum.h"
#include "replication/ltx/encoder.h"
#include "unit/fs/sqlite_support.h"

namespace rillfs {
namespace {

constexpr std::uint32_t kPageSize = 512;

struct Sent {
  stream::ChangeSetInfo info;
  Buffer image;
};

Sent make_sent(std::uint64_t txid = 5) {
  Sent sent;
  sent.info.pre = {Epoch{1}, Txid{txid - 1}, Checksum{Checksum::kFlag | 77}};
  ltx::Header header;
  header.page_size = kPageSize;
  header.commit = Pgno{3};
  header.min_txid = header.max_txid = Txid{txid};
  if (!header.is_snapshot()) header.pre_apply = sent.info.pre.checksum;
  BufferSink sink(sent.image);
  ltx::Encoder encoder(sink);
  Checksum sum = Checksum::empty();
  EXPECT_TRUE(encoder.begin(header));
  for (std::uint32_t n = 1; n <= 3; ++n) {
    const Buffer page(kPageSize, static_cast<std::uint8_t>(n));
    sum = sum.toggled(ltx::page_checksum(Pgno{n}, page));
    EXPECT_TRUE(encoder.page(Pgno{n}, page));
  }
  EXPECT_TRUE(encoder.finish(sum));
  sent.info.post = {Epoch{1}, Txid{txid}, sum};
  sent.info.image_size = sent.image.size();
  return sent;
}

class ImageReader : public testing::Test {
 protected:
  Result<ImageSummary> read(const stream::ChangeSetInfo& info, const stream::Sink::Image& image) {
    pages_.clear();
    return read_image(files_, info, image, [&](Pgno pgno, Bytes page) -> Result<void> {
      pages_[pgno.value] = Buffer(page.begin(), page.end());
      return {};
    });
  }
  static stream::Sink::Image in_memory(const Buffer& bytes) {
    stream::Sink::Image image;
    image.bytes = bytes;
    return image;
  }
  stream::Sink::Image in_file(const Buffer& bytes) {
    stream::Sink::Image image;
    image.file_path = directory_.file("image");
    test::write_all(image.file_path, bytes);
    return image;
  }

  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
  std::map<std::uint32_t, Buffer> pages_;
};

TEST_F(ImageReader, HandsOutEachPageAndSaysWhatTheyAre) {
  const Sent sent = make_sent();
  for (const auto& image : {in_memory(sent.image), in_file(sent.image)}) {
    auto summary = read(sent.info, image);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->header.commit, Pgno{3});
    EXPECT_EQ(summary->trailer.post_apply, sent.info.post.checksum);
    ASSERT_EQ(summary->changes.size(), 3U);
    ASSERT_EQ(pages_.size(), 3U);
    for (const PageChange& change : summary->changes)
      EXPECT_EQ(change.checksum, ltx::page_checksum(change.pgno, pages_[change.pgno.value]));
    EXPECT_EQ(pages_[2], Buffer(kPageSize, 2));
  }
  EXPECT_TRUE(read_image(files_, sent.info, in_memory(sent.image), {}))
      << "nobody needs to look at the pages";
}

TEST_F(ImageReader, AFirstChangeSetFollowsNothing) {
  Sent sent = make_sent(1);
  EXPECT_TRUE(read(sent.info, in_memory(sent.image)));
}

TEST_F(ImageReader, RefusesAnotherChangeSetThanTheOneAnnounced) {
  const Sent sent = make_sent();
  for (int what = 0; what < 3; ++what) {
    stream::ChangeSetInfo info = sent.info;
    if (what == 0) info.post.txid = Txid{6};
    if (what == 1) info.post.checksum.value ^= 1;
    if (what == 2) info.pre.checksum.value ^= 1;
    auto summary = read(info, in_memory(sent.image));
    ASSERT_FALSE(summary) << what;
    EXPECT_EQ(summary.error().code, ErrorCode::kCorrupt);
  }
}

TEST_F(ImageReader, NoFlippedBitChangesAPageAndEveryOtherLengthIsRefused) {
  const Sent sent = make_sent();
  ASSERT_TRUE(read(sent.info, in_memory(sent.image)));
  const auto sent_pages = pages_;
  for (std::size_t i = 0; i < sent.image.size(); ++i) {
    Buffer damaged = sent.image;
    damaged[i] ^= static_cast<std::uint8_t>(1U << (i % 8));
    // In a page of equal bytes some bits of the compressed form say the same thing either way.
    if (read(sent.info, in_memory(damaged))) {
      EXPECT_EQ(pages_, sent_pages) << i;
    }
    const Buffer cut(sent.image.begin(), sent.image.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(read(sent.info, in_memory(cut))) << i;
  }
  Buffer cut = sent.image;
  cut.pop_back();
  EXPECT_FALSE(read(sent.info, in_file(cut)));
}

TEST_F(ImageReader, StopsWhereAPageCannotBeTaken) {
  const Sent sent = make_sent();
  int taken = 0;
  auto summary = read_image(files_, sent.info, in_memory(sent.image), [&](Pgno, Bytes) -> Result<void> {
    if (++taken == 2) return errno_error(ENOSPC, "write");
    return {};
  });
  ASSERT_FALSE(summary);
  EXPECT_EQ(summary.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(taken, 2);
}

TEST_F(ImageReader, AFileThatIsGoneIsAnError) {
  const Sent sent = make_sent();
  stream::Sink::Image image;
  image.file_path = directory_.file("gone");
  EXPECT_EQ(read(sent.info, image).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace rillfs
