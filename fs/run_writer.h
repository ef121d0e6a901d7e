// Writes pages that follow each other at once.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>

#include "replication/base/bytes.h"
#include "replication/base/error.h"

namespace rillfs {

/// Threads: one.
class RunWriter {
 public:
  using Write = std::function<Result<void>(Bytes bytes, std::uint64_t offset)>;
  /// `write` gets runs of up to `size_max` bytes.
  RunWriter(std::size_t size_max, Write write) : size_max_(size_max), write_(std::move(write)) {}

  /// A page that belongs to `offset`. Writes what has gathered if the page does not follow it, or not fit.
  Result<void> add(Bytes page, std::uint64_t offset) {
    if (offset != offset_ + bytes_.size() || bytes_.size() + page.size() > size_max_) {
      RILL_TRY(flush());
      offset_ = offset;
    }
    append_bytes(bytes_, page);
    return {};
  }
  /// Writes what has gathered. Where that fails it is kept.
  Result<void> flush() {
    if (bytes_.empty()) return {};
    RILL_TRY(write_(bytes_, offset_));
    bytes_.clear();
    return {};
  }

 private:
  const std::size_t size_max_;
  const Write write_;
  Buffer bytes_;
  std::uint64_t offset_ = 0;
};

}  // namespace rillfs
