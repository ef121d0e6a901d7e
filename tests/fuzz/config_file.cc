// The configuration file, up to the checked configuration. Input: the file.
#include "cmd/config_file.h"

#include "cmd/options.h"
#include "support/target.h"

RILL_FUZZ_TARGET(config_file) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  const cmd::Environment environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "A") return "1s";
    if (name == "B") return "";
    return std::nullopt;
  };
  if (input.size() > cmd::kConfigFileSizeMax) return;
  auto settings = cmd::parse_config(std::string(input.begin(), input.end()), "f", environment);
  if (!settings) {
    require(settings.error().code == ErrorCode::kInvalid, "what is no configuration is invalid");
    require(settings.error().message.starts_with("f:"), "an error says where");
    return;
  }
  auto config = cmd::make_config(
      {}, [](const std::string&) { return std::nullopt; }, *settings);
  if (!config) return;
  // Every value can be shown as one would write it, and means the same when it is written so.
  for (const cmd::OptionDefinition& option : cmd::option_definitions()) {
    if (option.kind == cmd::ValueKind::kCommand) continue;
    const std::string text = option.get(*config);
    if (text.empty()) continue;
    cmd::Config copy = *config;
    require(option.set(copy, cmd::Setting{text, std::nullopt, "shown"}).has_value(),
            "what is shown can be read");
    require(option.get(copy) == text, "and is the same");
  }
}
