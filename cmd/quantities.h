// Sizes, durations, addresses and switches as people write them, in configuration, flags and environment.
//
//   size      whole number and unit: 0, 4096, 64KiB, 256MiB, 4GiB, 1TiB; KB, MB, GB, TB are powers of 1000,
//             a bare K, M, G, T means the power of 1024. Case does not matter.
//   duration  number and unit: 500ms, 1.5s, 10m, 24h, 7d. A unit is required (except for 0).
//   address   HOST:PORT, with an IPv6 host in brackets: [::1]:20202.
//   switch    true, false, yes, no, on, off, 1, 0.
//
// Every parser names the text in its error and says what would have been accepted.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "replication/base/error.h"

namespace rillfs::cmd {

/// Where to listen, or where another node is. The host is a name or an address, IPv6 without brackets.
struct HostPort {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const HostPort&, const HostPort&) = default;
};

/// In bytes. kInvalid beyond 2^63 - 1.
Result<std::uint64_t> parse_size(std::string_view text);
/// In milliseconds, rounded down; kInvalid if negative or beyond 100 years.
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
Result<HostPort> parse_host_port(std::string_view text);
Result<bool> parse_switch(std::string_view text);
/// Decimal, at most `max`.
Result<std::uint32_t> parse_number(std::string_view text, std::uint32_t max);
/// Permission bits in octal: 640, 0640; at most 07777.
Result<std::uint32_t> parse_mode(std::string_view text);

/// Inverses, exact: the largest unit that divides the value.
std::string size_text(std::uint64_t bytes);
std::string duration_text(std::chrono::milliseconds duration);
std::string to_text(const HostPort& address);

}  // namespace rillfs::cmd
