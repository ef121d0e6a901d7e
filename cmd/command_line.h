// The command line: what may be written, what was written, and running it.
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "cmd/config.h"

namespace CLI {
class App;
}

namespace rillfs::cmd {

/// What was written, as plain values. Only the fields of `command` mean anything.
struct CommandLine {
  std::string command;  ///< "mount", "status", "config show", "ltx verify", ...
  std::string config_path;
  Settings flags;
  bool json = false, watch = false, tsv = false, pages = false, force = false, quiet = false, yes = false;
  std::string file, name, shell;   ///< import, export, parked, completion
  std::vector<std::string> files;  ///< ltx
  std::vector<std::string> names;  ///< verify
};

/// The parser, writing into `out`, which outlives it. Help and completion read it as well.
std::unique_ptr<CLI::App> make_parser(CommandLine& out);
/// Words without the program's name. kInvalid for what it does not accept. Sets `help` instead if help, or
/// the version, was asked for.
Result<CommandLine> parse_command_line(const std::vector<std::string>& words, std::string& help);
/// The whole program: parses, runs, reports; returns the exit code.
int run(const std::vector<std::string>& words);

}  // namespace rillfs::cmd
