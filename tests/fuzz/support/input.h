// Fuzzed bytes taken apart in order. At the end everything is 0 and empty, so that every input means
// something.
#pragma once

#include <algorithm>
#include <string>

#include "replication/base/bytes.h"

namespace rillfs::fuzz {

class Input {
 public:
  explicit Input(Bytes bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  template <std::unsigned_integral T>
  T number() {
    std::uint8_t bytes[sizeof(T)] = {};
    std::size_t size = std::min(rest_.size(), sizeof bytes);
    std::copy_n(rest_.begin(), size, bytes);
    rest_ = rest_.subspan(size);
    return load_be<T>(bytes);
  }
  std::uint8_t byte() { return number<std::uint8_t>(); }
  /// Up to `size` bytes.
  Bytes bytes(std::size_t size) {
    Bytes taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  std::string text(std::size_t size) {
    Bytes taken = bytes(size);
    return {taken.begin(), taken.end()};
  }
  Bytes rest() { return bytes(rest_.size()); }

 private:
  Bytes rest_;
};

}  // namespace rillfs::fuzz
