// Small helpers that tests of formats share: hex text, pages of one byte.
#pragma once

#include <string_view>

#include "replication/base/bytes.h"

namespace rillfs::test {

inline Buffer from_hex_text(std::string_view text) {
  Buffer bytes;
  int high = -1;
  for (char c : text) {
    int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) continue;
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<std::uint8_t>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

inline Buffer page_of(std::size_t size, int byte) { return Buffer(size, static_cast<std::uint8_t>(byte)); }

}  // namespace rillfs::test
