// Bytes that came from elsewhere (file names, messages of other nodes), made safe to show.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace rillfs::cmd {

/// The text with every byte that is not part of valid UTF-8 replaced by U+FFFD: what JSON can carry.
std::string valid_utf8(std::string_view bytes);
/// For terminals: control characters, characters that reorder text, and bytes that are not UTF-8 appear as
/// \xNN, a backslash as two. One line in, one line out.
std::string printable(std::string_view bytes);
/// Columns that `text` takes on a terminal, one per character.
std::size_t width_of(std::string_view text);

std::string hex_of(std::string_view bytes);
std::optional<std::string> bytes_of_hex(std::string_view hex);

}  // namespace rillfs::cmd
