// Goal: what we write is LTX v3/block to the byte, what we read is exact or refused.
// Method: reference files; every truncation and every flipped bit of them; broken rules; random round trips.
#include <gtest/gtest.h>

#include <cstdio>
#include <random>

#include "ltx_vectors.h"
#include "replication/ltx/decoder.h"
#include "replication/ltx/encoder.h"

namespace rillfs::ltx {
namespace {

using test::page_of;
using Pages = std::vector<std::pair<Pgno, Buffer>>;

struct File {
  Header header;
  Trailer trailer;
  Pages pages;
  Format format = Format::kV3Block;
};

Result<File> decode(Bytes bytes, std::optional<Format> format = {}) {
  BufferSource source(bytes);
  Decoder decoder(source, format);
  File file;
  RILL_ASSIGN(file.header, decoder.begin());
  for (;;) {
    RILL_ASSIGN(auto page, decoder.next());
    if (!page) break;
    file.pages.emplace_back(page->pgno, Buffer(page->data.begin(), page->data.end()));
  }
  RILL_ASSIGN(file.trailer, decoder.finish());
  EXPECT_EQ(decoder.size(), bytes.size());
  file.format = decoder.format();
  return file;
}

Result<Buffer> encode_file(const Header& header, const Pages& pages, Checksum post_apply) {
  Buffer bytes;
  BufferSink sink(bytes);
  Encoder encoder(sink);
  RILL_TRY(encoder.begin(header));
  for (const auto& [pgno, data] : pages) RILL_TRY(encoder.page(pgno, data));
  RILL_ASSIGN(Trailer trailer, encoder.finish(post_apply));
  EXPECT_EQ(encoder.size(), bytes.size());
  EXPECT_EQ(parse_trailer(Bytes(bytes).last(kTrailerSize)), trailer);
  return bytes;
}

Pages pages_b() { return {{Pgno{1}, page_of(512, '2')}, {Pgno{2}, page_of(512, '3')}}; }
Pages page_2() { return {{Pgno{2}, page_of(512, '4')}}; }
constexpr Checksum kPostB{0x8b87423eeeeeeeee};
constexpr Checksum kPostD{0xdb2ddab666666666};

ErrorCode code_of(const Result<Buffer>& result) { return result ? ErrorCode::kClosed : result.error().code; }

}  // namespace

TEST(LtxEncoder, WritesTheReferenceFiles) {
  EXPECT_EQ(encode_file(header_a(), {}, Checksum::empty()).value(), vector_a());
  EXPECT_EQ(encode_file(header_b(), pages_b(), kPostB).value(), vector_b());
  EXPECT_EQ(encode_file(header_c(), page_2(), {}).value(), vector_c());
  EXPECT_EQ(encode_file(header_d(), page_2(), kPostD).value(), vector_d());
}

TEST(LtxDecoder, ReadsTheReferenceFiles) {
  auto check = [](const Buffer& bytes, const Header& header, const Pages& pages, Checksum post_apply) {
    auto file = decode(bytes);
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(file->header, header);
    EXPECT_EQ(file->pages, pages);
    EXPECT_EQ(file->trailer.post_apply, post_apply);
    EXPECT_EQ(file->format, Format::kV3Block);
  };
  check(vector_a(), header_a(), {}, Checksum::empty());
  check(vector_b(), header_b(), pages_b(), kPostB);
  check(vector_c(), header_c(), page_2(), {});
  check(vector_d(), header_d(), page_2(), kPostD);
}

TEST(LtxDecoder, RefusesEveryTruncation) {
  for (const Buffer& bytes : {vector_a(), vector_b(), vector_c(), vector_d()}) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      auto file = decode(Bytes(bytes).first(size));
      ASSERT_FALSE(file) << size;
      EXPECT_EQ(file.error().code, ErrorCode::kCorrupt) << size;
    }
  }
}

TEST(LtxDecoder, RefusesBytesAfterTheTrailer) {
  Buffer bytes = vector_b();
  bytes.push_back(0);
  EXPECT_EQ(decode(bytes).error().code, ErrorCode::kCorrupt);
}

// A compressed page is not itself part of the checksum, only what it expands to: a flip there may only pass
// if the page comes out the same.
TEST(LtxDecoder, RefusesEveryFlippedBit) {
  for (const Buffer& original : {vector_a(), vector_b(), vector_c(), vector_d()}) {
    const Pages pages = decode(original)->pages;
    for (std::size_t bit = 0; bit < original.size() * 8; ++bit) {
      Buffer bytes = original;
      bytes[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
      auto file = decode(bytes);
      if (file) {
        EXPECT_EQ(file->pages, pages) << "byte " << bit / 8;
        EXPECT_GE(bit / 8, kHeaderSize + kBlockHeaderSize) << "only a compressed page may differ";
        EXPECT_LT(bit / 8, original.size() - kTrailerSize - 8);
      }
    }
  }
}

TEST(LtxDecoder, RefusesCompressedSizesOutOfBounds) {
  for (std::uint32_t size : {0u, 1u, 11u, 13u, 1000u, 0x7fffffffu, 0xffffffffu}) {
    Buffer bytes = vector_d();
    store_be(&bytes[kHeaderSize + kPageHeaderSize], size);
    EXPECT_EQ(decode(bytes).error().code, ErrorCode::kCorrupt) << size;
    EXPECT_EQ(decode(bytes, Format::kV3Block).error().code, ErrorCode::kCorrupt) << size;
  }
}

TEST(LtxDecoder, AcceptsOnlyTheFormatAskedFor) {
  EXPECT_TRUE(decode(vector_b(), Format::kV3Block));
  for (Format format : {Format::kV1Raw, Format::kV1Frame, Format::kV2, Format::kV3Frame}) {
    EXPECT_FALSE(decode(vector_b(), format));
  }
}

TEST(LtxEncoder, RefusesWhatBreaksTheOrder) {
  auto refused = [](const Header& header, const Pages& pages, Checksum post) {
    return code_of(encode_file(header, pages, post)) == ErrorCode::kInvalid;
  };
  Buffer page = page_of(512, '2');
  EXPECT_TRUE(refused(header_d(), {{Pgno{0}, page}}, kPostD)) << "page 0";
  EXPECT_TRUE(refused(header_d(), {{Pgno{3}, page}}, kPostD)) << "beyond commit";
  EXPECT_TRUE(refused(header_d(), {{Pgno{2}, page}, {Pgno{2}, page}}, kPostD)) << "twice";
  EXPECT_TRUE(refused(header_d(), {{Pgno{2}, page}, {Pgno{1}, page}}, kPostD)) << "descending";
  EXPECT_TRUE(refused(header_d(), {{Pgno{1}, page_of(511, 0)}}, kPostD)) << "size";
  EXPECT_TRUE(refused(header_b(), {{Pgno{2}, page}}, kPostB)) << "gap";
  EXPECT_TRUE(refused(header_b(), {{Pgno{1}, page}}, kPostB)) << "incomplete";
  EXPECT_TRUE(refused(header_b(), {{Pgno{1}, page}, {Pgno{2}, page}}, kPostB)) << "wrong sum";
  EXPECT_TRUE(refused(header_d(), page_2(), {})) << "no post-apply checksum";
  EXPECT_TRUE(refused(header_a(), {}, kPostD)) << "deletion with content";
  EXPECT_TRUE(refused(header_c(), page_2(), kPostD)) << "checksum in spite of the flag";
}

TEST(LtxEncoder, RefusesTheLockPageAndSnapshotsSkipIt) {
  Header header = header_d();
  header.page_size = 65536;
  header.commit = Pgno{20000};
  Buffer page = page_of(65536, 1);
  EXPECT_EQ(code_of(encode_file(header, {{lock_pgno(65536), page}}, kPostD)), ErrorCode::kInvalid);

  header = {.flags = kFlagNoChecksum,
            .page_size = 65536,
            .commit = Pgno{16386},
            .min_txid = Txid{1},
            .max_txid = Txid{1}};
  PageOrder order(header);
  for (std::uint32_t pgno = 1; pgno <= 16384; ++pgno) ASSERT_TRUE(order.add(Pgno{pgno}));
  EXPECT_FALSE(order.add(Pgno{16385}));
  EXPECT_FALSE(order.finish({}));
  EXPECT_TRUE(order.add(Pgno{16386}));
  EXPECT_TRUE(order.finish({}));
}

TEST(LtxEncoder, IsOfNoUseAfterAnErrorUntilBegun) {
  Buffer bytes;
  BufferSink sink(bytes);
  Encoder encoder(sink);
  EXPECT_FALSE(encoder.page(Pgno{1}, page_of(512, 1)));
  ASSERT_TRUE(encoder.begin(header_d()));
  EXPECT_FALSE(encoder.page(Pgno{9}, page_of(512, 1)));
  EXPECT_FALSE(encoder.page(Pgno{2}, page_of(512, '4')));
  EXPECT_FALSE(encoder.finish(kPostD));
  bytes.clear();
  ASSERT_TRUE(encoder.begin(header_d()));
  ASSERT_TRUE(encoder.page(Pgno{2}, page_of(512, '4')));
  ASSERT_TRUE(encoder.finish(kPostD));
  EXPECT_EQ(bytes, vector_d());
}

TEST(LtxCodec, RoundTripsRandomPagesOfEveryPageSize) {
  std::mt19937_64 random(20240607);
  for (std::uint32_t page_size = 512; page_size <= 65536; page_size *= 2) {
    for (int round = 0; round < 4; ++round) {
      Pages pages;
      Checksum sum = Checksum::empty();
      const bool snapshot = round % 2 == 0;
      std::uint32_t commit = static_cast<std::uint32_t>(random() % 30 + 1);
      for (std::uint32_t pgno = 1; pgno <= commit; ++pgno) {
        if (!snapshot && random() % 2) continue;
        Buffer page(page_size);
        std::size_t noise = random() % (page_size + 1);
        for (std::size_t i = 0; i < noise; ++i) page[i] = static_cast<std::uint8_t>(random());
        sum = sum.toggled(page_checksum(Pgno{pgno}, page));
        pages.emplace_back(Pgno{pgno}, std::move(page));
      }
      Header header{.page_size = page_size,
                    .commit = Pgno{commit},
                    .min_txid = Txid{snapshot ? 1u : 7u},
                    .max_txid = Txid{9},
                    .timestamp_ms = -5};
      if (!snapshot) header.pre_apply = Checksum{random() | Checksum::kFlag};
      auto bytes = encode_file(header, pages, sum);
      ASSERT_TRUE(bytes) << bytes.error().message;
      auto file = decode(*bytes);
      ASSERT_TRUE(file) << file.error().message;
      EXPECT_EQ(file->header, header);
      EXPECT_EQ(file->pages, pages);
      EXPECT_EQ(file->trailer.post_apply, sum);
    }
  }
}

// Any bytes at all must come back as an error, not as a crash or an endless loop.
TEST(LtxDecoder, SurvivesRandomDamage) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 20000; ++round) {
    Buffer bytes = round % 2 ? vector_b() : vector_c();
    for (std::uint64_t i = random() % 8 + 1; i > 0; --i) {
      bytes[kHeaderSize * (round % 3 != 0) + random() % (bytes.size() - kHeaderSize)] =
          static_cast<std::uint8_t>(random());
    }
    if (round % 5 == 0) bytes.resize(random() % bytes.size());
    (void)decode(bytes);
  }
}

}  // namespace rillfs::ltx
