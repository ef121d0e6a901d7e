// Goal: files of older LTX versions are read, and verified as strictly as ours.
// Method: files put together here with liblz4 from the layout tables; truncations and flips of them.
#include <gtest/gtest.h>
#include <lz4frame.h>

#include "ltx_vectors.h"
#include "replication/ltx/decoder.h"

namespace rillfs::ltx {
namespace {

using test::page_of;

Buffer lz4_frame(const Buffer& content) {
  Buffer frame(LZ4F_compressFrameBound(content.size(), nullptr) + 64);
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
  frame.resize(LZ4F_compressFrame(frame.data(), frame.size(), content.data(), content.size(), &preferences));
  return frame;
}

/// Both the file and the bytes that its checksum runs over.
struct Builder {
  Buffer file, logical, index;

  void both(Bytes bytes) { append_bytes(file, bytes), append_bytes(logical, bytes); }
  template <class Int>
  void number(Int value) {
    std::uint8_t bytes[sizeof value];
    store_be(bytes, value);
    both(bytes);
  }
  void finish(Checksum post_apply) {
    number(post_apply.value);
    Crc64 crc;
    crc.update(logical);
    std::uint8_t bytes[8];
    store_be(bytes, crc.checksum().value);
    append_bytes(file, bytes);
  }
};

constexpr Checksum kPostB{0x8b87423eeeeeeeee};

/// The snapshot of vector B with a frame per page, with (v3) or without (v2) page flags.
Buffer frame_per_page(bool v3, bool lie_in_index = false) {
  Builder out;
  out.both(encode(header_b()));
  for (std::uint32_t pgno : {1u, 2u}) {
    std::size_t offset = out.file.size();
    out.number(pgno);
    if (v3) out.number(std::uint16_t{0});
    Buffer page = page_of(512, pgno == 1 ? '2' : '3');
    append_bytes(out.logical, page);
    append_bytes(out.file, lz4_frame(page));
    append_bytes(out.index, IndexEntry(Pgno{pgno}, offset, out.file.size() - offset + lie_in_index).bytes());
  }
  out.both(Buffer(v3 ? 6 : 4));
  out.index.push_back(0);
  out.both(out.index);
  out.number(std::uint64_t{out.index.size()});
  out.finish(kPostB);
  return out.file;
}

Buffer v1(bool compressed) {
  Builder out;
  Header header = header_b();
  header.flags = compressed ? kFlagWholeFrame : 0;
  out.both(encode(header));
  Builder body;
  for (std::uint32_t pgno : {1u, 2u}) {
    body.number(pgno);
    body.both(page_of(512, pgno == 1 ? '2' : '3'));
  }
  body.number(std::uint32_t{0});
  append_bytes(out.logical, body.logical);
  append_bytes(out.file, compressed ? lz4_frame(body.file) : body.file);
  out.finish(kPostB);
  return out.file;
}

Buffer v1_reference() {
  Builder out;
  Header header = header_b();
  header.commit = Pgno{1};
  header.max_txid = Txid{1};
  out.both(encode(header));
  out.number(std::uint32_t{1});
  out.both(page_of(512, '1'));
  out.number(std::uint32_t{0});
  out.finish(Checksum{0xeb1a999231044ddd});
  return out.file;
}

Result<Summary> verify_bytes(Bytes bytes) {
  BufferSource source(bytes);
  return verify(source);
}

Result<Format> format_of(Bytes bytes) {
  BufferSource source(bytes);
  Decoder decoder(source);
  RILL_TRY(decoder.begin());
  for (int pgno = 1;; ++pgno) {
    RILL_ASSIGN(auto page, decoder.next());
    if (!page) break;
    EXPECT_EQ(page->pgno, Pgno{static_cast<std::uint32_t>(pgno)});
    EXPECT_EQ(Buffer(page->data.begin(), page->data.end()), page_of(512, '1' + pgno));
  }
  RILL_ASSIGN(Trailer trailer, decoder.finish());
  EXPECT_EQ(trailer.post_apply, kPostB);
  return decoder.format();
}

}  // namespace

TEST(LtxOldFormats, AreReadAndToldApart) {
  EXPECT_EQ(format_of(frame_per_page(true)).value(), Format::kV3Frame);
  EXPECT_EQ(format_of(frame_per_page(false)).value(), Format::kV2);
  EXPECT_EQ(format_of(v1(false)).value(), Format::kV1Raw);
  EXPECT_EQ(format_of(v1(true)).value(), Format::kV1Frame);
}

TEST(LtxOldFormats, ReadsTheReferenceV1File) {
  Buffer bytes = v1_reference();
  EXPECT_EQ(bytes.size(), 636u);
  auto summary = verify_bytes(bytes);
  ASSERT_TRUE(summary) << summary.error().message;
  EXPECT_EQ(summary->trailer.file.value, 0xbab9b3d8b4fa3b31u);
}

TEST(LtxOldFormats, FilesWithoutPagesAreToldApartByTheirSize) {
  Header header = header_a();
  for (std::size_t zeros : {4u, 6u}) {
    for (bool index : {false, true}) {
      if (zeros == 6 && !index) continue;
      Builder out;
      out.both(encode(header));
      out.both(Buffer(zeros));
      if (index) {
        out.both(Buffer(1));
        out.number(std::uint64_t{1});
      }
      out.finish(Checksum::empty());
      BufferSource source(out.file);
      Decoder decoder(source);
      ASSERT_TRUE(decoder.begin());
      EXPECT_EQ(decoder.format(), zeros == 6 ? Format::kV3Block : index ? Format::kV2 : Format::kV1Raw);
      ASSERT_TRUE(decoder.next());
      EXPECT_TRUE(decoder.finish());
    }
  }
}

TEST(LtxOldFormats, RefuseEveryTruncation) {
  for (const Buffer& bytes : {frame_per_page(true), frame_per_page(false), v1(false), v1(true)}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_FALSE(verify_bytes(Bytes(bytes).first(size))) << size;
    }
  }
}

// Flips within an LZ4 frame's own descriptor may pass; what is decoded may not change.
TEST(LtxOldFormats, NeverYieldOtherPagesForAFlippedBit) {
  for (const Buffer& original : {frame_per_page(true), frame_per_page(false), v1(false), v1(true)}) {
    for (std::size_t bit = 0; bit < original.size() * 8; ++bit) {
      Buffer bytes = original;
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      auto summary = verify_bytes(bytes);
      EXPECT_TRUE(!summary || bit / 8 >= kHeaderSize) << bit / 8;
    }
  }
}

TEST(LtxOldFormats, IndexMustMatchTheFrames) {
  EXPECT_FALSE(verify_bytes(frame_per_page(true, true)));
  EXPECT_FALSE(verify_bytes(frame_per_page(false, true)));
}

TEST(LtxOldFormats, FramesOfAWrongLengthAreRefused) {
  for (std::size_t size : {0u, 511u, 513u, 100000u}) {
    HeaderBytes header = encode(header_b());
    Buffer file(header.begin(), header.end());
    append_bytes(file, Buffer{0, 0, 0, 1, 0, 0});
    append_bytes(file, lz4_frame(page_of(size, '2')));
    append_bytes(file, Buffer(64));
    auto summary = verify_bytes(file);
    ASSERT_FALSE(summary) << size;
    EXPECT_EQ(summary.error().code, ErrorCode::kCorrupt);
  }
}

}  // namespace rillfs::ltx
