// Names as hex digits: how JSON files of the data directory keep bytes that may be no valid text.
#pragma once

#include <string>

namespace rillfs {

std::string hex_of(const std::string& bytes);
/// Of a text for which `is_hex` holds.
std::string bytes_of(const std::string& hex);
/// An even number of lower-case hex digits.
bool is_hex(const std::string& text);

}  // namespace rillfs
