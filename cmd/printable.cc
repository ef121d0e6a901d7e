#include "cmd/printable.h"

#include <array>
#include <cstdint>

namespace rillfs::cmd {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

/// Length of the UTF-8 character at the front (RFC 3629: shortest form, no surrogates); 0 if there is none.
std::size_t character_size(std::string_view bytes) {
  auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  std::uint8_t first = at(0);
  if (first < 0x80) return 1;
  std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || bytes.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((at(i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && at(1) < 0xa0) return 0;
  if (first == 0xed && at(1) > 0x9f) return 0;
  if (first == 0xf0 && at(1) < 0x90) return 0;
  if (first == 0xf4 && at(1) > 0x8f) return 0;
  return size;
}

/// C0, DEL, C1 (c2 80..9f), line separators and direction marks (e2 80 8e..8f, a8..ae, e2 81 a6..a9).
bool is_harmful(std::string_view c) {
  auto at = [&](std::size_t i) { return static_cast<std::uint8_t>(c[i]); };
  if (c.size() == 1) return at(0) < 0x20 || at(0) == 0x7f;
  if (c.size() == 2) return at(0) == 0xc2 && at(1) < 0xa0;
  if (c.size() != 3 || at(0) != 0xe2) return false;
  if (at(1) == 0x80) return at(2) == 0x8e || at(2) == 0x8f || (at(2) >= 0xa8 && at(2) <= 0xae);
  return at(1) == 0x81 && at(2) >= 0xa6 && at(2) <= 0xa9;
}

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::string valid_utf8(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    std::size_t size = character_size(bytes);
    if (size == 0)
      out += "\xef\xbf\xbd";
    else
      out += bytes.substr(0, size);
    bytes.remove_prefix(size == 0 ? 1 : size);
  }
  return out;
}

std::string printable(std::string_view bytes) {
  std::string out;
  while (!bytes.empty()) {
    std::size_t size = character_size(bytes);
    std::string_view character = bytes.substr(0, size == 0 ? 1 : size);
    if (character == "\\")
      out += "\\\\";
    else if (size == 0 || is_harmful(character))
      for (unsigned char c : character) (out += "\\x") += {kDigits[c >> 4], kDigits[c & 15]};
    else
      out += character;
    bytes.remove_prefix(character.size());
  }
  return out;
}

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  for (unsigned char c : text)
    if ((c & 0xc0) != 0x80) ++width;
  return width;
}

std::string hex_of(std::string_view bytes) {
  std::string out;
  for (unsigned char c : bytes) out += {kDigits[c >> 4], kDigits[c & 15]};
  return out;
}

std::optional<std::string> bytes_of_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    int high = digit_value(hex[i]);
    int low = digit_value(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

}  // namespace rillfs::cmd
