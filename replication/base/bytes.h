// Byte ranges, and fixed-width integers in them.
//
// SQLite's files, LTX and our own formats are big-endian unless they say otherwise; the wal-index is in host
// order. `load_be`/`store_be` take a pointer to as many bytes as the type has; the caller has checked the
// length.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace rillfs {

using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;
using Buffer = std::vector<std::uint8_t>;

template <std::unsigned_integral T>
T load_be(const std::uint8_t* from) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i)
    value = static_cast<T>(static_cast<std::uint64_t>(value) << 8 | from[i]);
  return value;
}

template <std::unsigned_integral T>
void store_be(std::uint8_t* to, T value) {
  for (std::size_t i = sizeof(T); i-- > 0; value = static_cast<T>(static_cast<std::uint64_t>(value) >> 8))
    to[i] = static_cast<std::uint8_t>(value);
}

template <std::unsigned_integral T>
T load_host(const std::uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <std::unsigned_integral T>
void store_host(std::uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// Also of no bytes at all.
inline bool is_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::uint8_t byte) { return byte == 0; });
}

inline void append_bytes(Buffer& buffer, Bytes bytes) {
  buffer.insert(buffer.end(), bytes.begin(), bytes.end());
}

}  // namespace rillfs
