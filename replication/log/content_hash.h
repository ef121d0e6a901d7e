// What a database's content sums to, with page numbers bound to it.
//
// LTX's rolling checksum XORs CRCs, so it cannot see two pages swapped. This is the sum, modulo 2^128, of
// XXH3-128 of every page, seeded with the page's number: updated in the time that the changed pages take, and
// different for every arrangement of pages. Not cryptographic. The lock page is left out; no pages sum to 0.
#pragma once

#include "replication/base/bytes.h"
#include "replication/base/types.h"

namespace rillfs::log {

struct ContentHash {
  std::uint64_t hi = 0;
  std::uint64_t lo = 0;

  void add(Pgno pgno, Bytes page) { add(of_page(pgno, page)); }
  void remove(Pgno pgno, Bytes page) { remove(of_page(pgno, page)); }
  void add(const ContentHash& other);
  void remove(const ContentHash& other);

  static ContentHash of_page(Pgno pgno, Bytes page);
  friend constexpr bool operator==(const ContentHash&, const ContentHash&) = default;
};

}  // namespace rillfs::log
