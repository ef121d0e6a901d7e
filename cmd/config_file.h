// The configuration file: YAML, with variables of the environment in its values.
//
//     data: /var/lib/rillfs
//     primary: ${PRIMARY:-db-1.internal:20202}
//     retention:
//       bytes: 1GiB
//
// Keys are those of the option table (cmd/options.h), nested at the dots. A key that is not in the table is
// refused with its line, since a misspelt option that is silently ignored is found only when it is needed.
//
// ${NAME} is the variable's value and an error if it is not set; ${NAME:-text} is `text` where it is unset or
// empty; $${ is a literal ${. Values are expanded after the YAML is read: what a variable contains is never
// taken as YAML.
#pragma once

#include <string>
#include <string_view>

#include "cmd/config.h"

namespace rillfs::cmd {

/// A configuration file larger than this is refused.
constexpr std::size_t kConfigFileSizeMax = 1 << 20;

/// Replaces the variables in one value.
Result<std::string> expand(std::string_view text, const Environment& environment);

/// `name` is what messages call the file.
Result<Settings> parse_config(const std::string& content, const std::string& name,
                              const Environment& environment);
Result<Settings> read_config_file(const std::string& path, const Environment& environment);

}  // namespace rillfs::cmd
