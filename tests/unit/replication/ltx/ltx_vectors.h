// The reference files that any LTX implementation must reproduce.
#pragma once

#include "replication/ltx/header.h"
#include "unit/support/vectors.h"

namespace rillfs::ltx {

/// A deletion: page size 4096, transactions 5-6.
inline Buffer vector_a() {
  return test::from_hex_text(
      "4c54583100000000000010000000000000000000000000050000000000000006"
      "00000000000007d0800000000000000500000000000000000000000000000000"
      "0000000000000000000000000000000000000000000000000000000000000000"
      "0000000000000000000000000000000000000180000000000000009bf813822a"
      "638080");
}

/// A snapshot 1-2 of two pages of 512 bytes, '2' and '3'.
inline Buffer vector_b() {
  return test::from_hex_text(
      "4c54583100000000000002000000000200000000000000010000000000000002"
      "00000000000003e8000000000000000000000000000000000000000000000000"
      "0000000000000000000000000000000000000000000000000000000000000000"
      "000000000000000100010000000c1f320100ffe8503232323232000000020001"
      "0000000c1f330100ffe8503333333333000000000000016416027a1600000000"
      "00000000078b87423eeeeeeeeedcd60e5434d0dd86");
}

/// Without checksums: page 2 is '4', WAL fields are set.
inline Buffer vector_c() {
  return test::from_hex_text(
      "4c54583100000002000002000000000200000000000000030000000000000003"
      "0000018bcfe5687b000000000000000000000000000000200000000000000218"
      "1122334455667788000000000000000000000000000000000000000000000000"
      "000000000000000200010000000c1f340100ffe8503434343434000000000000"
      "0264160000000000000000040000000000000000c8ec07bd4dc45a74");
}

/// On top of B: page 2 becomes '4'.
inline Buffer vector_d() {
  return test::from_hex_text(
      "4c54583100000000000002000000000200000000000000030000000000000003"
      "00000000000007d08b87423eeeeeeeee00000000000000000000000000000000"
      "00000000000000000000000000abcdef00000000000000000000000000000000"
      "000000000000000200010000000c1f340100ffe8503434343434000000000000"
      "026416000000000000000004db2ddab666666666b3f66f5e329f53b4");
}

inline Header header_a() {
  return {.page_size = 4096,
          .min_txid = Txid{5},
          .max_txid = Txid{6},
          .timestamp_ms = 2000,
          .pre_apply = Checksum{0x8000000000000005}};
}
inline Header header_b() {
  return {
      .page_size = 512, .commit = Pgno{2}, .min_txid = Txid{1}, .max_txid = Txid{2}, .timestamp_ms = 1000};
}
inline Header header_c() {
  return {.flags = kFlagNoChecksum,
          .page_size = 512,
          .commit = Pgno{2},
          .min_txid = Txid{3},
          .max_txid = Txid{3},
          .timestamp_ms = 1700000000123,
          .wal_offset = 32,
          .wal_size = 536,
          .wal_salt1 = 0x11223344,
          .wal_salt2 = 0x55667788};
}
inline Header header_d() {
  return {.page_size = 512,
          .commit = Pgno{2},
          .min_txid = Txid{3},
          .max_txid = Txid{3},
          .timestamp_ms = 2000,
          .pre_apply = Checksum{0x8b87423eeeeeeeee},
          .node = NodeId{0xabcdef}};
}

}  // namespace rillfs::ltx
