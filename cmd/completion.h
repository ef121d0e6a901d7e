// Completion scripts for shells, made from the parser itself.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace rillfs::cmd {

/// `shell` is one of bash, zsh, fish; empty for any other.
std::string completion_script(const CLI::App& parser, const std::string& shell);

}  // namespace rillfs::cmd
