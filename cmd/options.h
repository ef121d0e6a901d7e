// The one table of configuration options.
//
// Command-line flags, environment variables, configuration keys, `--help`, `rillfs config show`, shell
// completion and docs/configuration.md are all made from it: an option exists everywhere or nowhere.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "cmd/config.h"

namespace rillfs::cmd {

enum class ValueKind { kDirectory, kAddress, kSwitch, kChoice, kDuration, kSize, kNumber, kCommand };

struct OptionDefinition {
  std::string_view name;      ///< the flag without its dashes; empty fields below mean "not there"
  std::string_view key;       ///< in the configuration file, with dots between levels
  std::string_view variable;  ///< in the environment
  ValueKind kind;
  std::string_view choices;   ///< for kChoice: separated by '|'
  std::string_view fallback;  ///< the default as one would write it; empty: computed, see `fallback_text`
  std::string_view fallback_text;  ///< how documents describe a computed default
  std::string_view group;          ///< heading in the help
  std::string_view help;           ///< one line, no full stop
  /// Parses into the configuration.
  Result<void> (*set)(Config&, const Setting&);
  /// The effective value as one would write it; empty if unset.
  std::string (*get)(const Config&);
};

std::span<const OptionDefinition> option_definitions();
const OptionDefinition* find_option_by_key(std::string_view key);
/// The placeholder in help: DIR, HOST:PORT, true|false, ...
std::string placeholder(const OptionDefinition& option);
/// The default as help and documents show it.
std::string_view default_text(const OptionDefinition& option);
/// `mountpoint` and `exec` are positional on the command line and have no flag.
bool has_flag(const OptionDefinition& option);

/// The table of docs/configuration.md.
std::string options_as_markdown();

}  // namespace rillfs::cmd
