#include <algorithm>

#include "replication/wire/transport.h"

namespace rillfs::wire {

namespace {

bool is_port(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; })) return false;
  return std::stoul(std::string(text)) <= 65535;
}

}  // namespace

Result<Address> parse_address(std::string_view text) {
  auto bad = [&] {
    return make_error(ErrorCode::kInvalid,
                      "'" + std::string(text) + "' is not an address: HOST:PORT expected, e.g. db1:20202");
  };
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !is_port(text.substr(colon + 1))) return bad();
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[')) {
    if (!host.ends_with(']')) return bad();
    host = host.substr(1, host.size() - 2);
    const bool is_ipv6 = host.find(':') != std::string_view::npos;
    if (!is_ipv6 || host.find_first_of("[]") != std::string_view::npos) return bad();
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  return Address{std::string(host), std::string(text.substr(colon + 1))};
}

std::string to_text(const Address& address) {
  if (address.host.find(':') != std::string::npos) return "[" + address.host + "]:" + address.port;
  return address.host + ":" + address.port;
}

}  // namespace rillfs::wire
