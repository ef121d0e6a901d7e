// Goal: every rule about headers, trailers and names is enforced. Method: valid ones, each broken in one way.
#include "replication/ltx/header.h"

#include <gtest/gtest.h>

#include "ltx_vectors.h"

namespace rillfs::ltx {

TEST(LtxHeader, RoundTrips) {
  for (const Header& header : {header_a(), header_b(), header_c(), header_d()}) {
    EXPECT_EQ(parse_header(encode(header)).value(), header);
  }
}

TEST(LtxHeader, RefusesWhatBreaksARule) {
  auto broken = [](auto change, Header header = header_d()) {
    change(header);
    auto valid = validate(header);
    auto parsed = parse_header(encode(header));
    return !valid && valid.error().code == ErrorCode::kInvalid && !parsed &&
           parsed.error().code == ErrorCode::kCorrupt;
  };
  EXPECT_FALSE(broken([](Header&) {}));
  EXPECT_TRUE(broken([](Header& h) { h.flags = 4; }));
  for (std::uint32_t size : {0u, 1u, 256u, 513u, 131072u, 0x80000000u}) {
    EXPECT_TRUE(broken([&](Header& h) { h.page_size = size; })) << size;
  }
  EXPECT_TRUE(broken([](Header& h) { h.min_txid = Txid{}; }));
  EXPECT_TRUE(broken([](Header& h) { h.max_txid = Txid{2}; }));
  EXPECT_TRUE(broken([](Header& h) { h.pre_apply = {}; }));
  EXPECT_TRUE(broken([](Header& h) { h.pre_apply = Checksum{1}; }));
  EXPECT_TRUE(broken([](Header& h) { h.flags = kFlagNoChecksum; }));
  EXPECT_TRUE(broken([](Header& h) { h.pre_apply = Checksum::empty(); }, header_b()));
  EXPECT_TRUE(broken([](Header& h) { h.wal_offset = std::uint64_t{1} << 63; }));
  EXPECT_TRUE(broken([](Header& h) { h.wal_offset = 32, h.wal_size = std::uint64_t{1} << 63; }));
  EXPECT_TRUE(broken([](Header& h) { h.wal_size = 1; }));
  EXPECT_TRUE(broken([](Header& h) { h.wal_salt1 = 1; }));
  EXPECT_TRUE(broken([](Header& h) { h.wal_salt2 = 1; }));
}

TEST(LtxHeader, RefusesAnotherMagic) {
  HeaderBytes bytes = encode(header_b());
  bytes[3] = '2';
  EXPECT_EQ(parse_header(bytes).error().code, ErrorCode::kCorrupt);
}

TEST(LtxTrailer, MustFitTheHeader) {
  const Checksum any{Checksum::kFlag | 7}, none;
  EXPECT_TRUE(validate({any, any}, header_d()));
  EXPECT_FALSE(validate({any, Checksum{7}}, header_d()));
  EXPECT_FALSE(validate({none, any}, header_d()));
  EXPECT_FALSE(validate({Checksum{7}, any}, header_d()));
  EXPECT_FALSE(validate({any, any}, header_c()));
  EXPECT_TRUE(validate({none, any}, header_c()));
  EXPECT_FALSE(validate({any, any}, header_a()));
  EXPECT_TRUE(validate({Checksum::empty(), any}, header_a()));
}

TEST(LtxFileName, RoundTripsAndRefusesEverythingElse) {
  EXPECT_EQ(file_name({Txid{13}, Txid{0xabc}}), "000000000000000d-0000000000000abc.ltx");
  EXPECT_EQ(parse_file_name("000000000000000d-0000000000000abc.ltx"), (TxidRange{Txid{13}, Txid{0xabc}}));
  for (const char* name :
       {"", ".ltx", "000000000000000D-0000000000000abc.ltx", "000000000000000d_0000000000000abc.ltx",
        "000000000000000d-0000000000000abc.ltx.tmp", "000000000000000d-0000000000000abg.ltx"}) {
    EXPECT_FALSE(parse_file_name(name)) << name;
  }
}

}  // namespace rillfs::ltx
