#include "cmd/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>

#include "cmd/options.h"
#include "replication/base/file_system.h"

namespace rillfs::cmd {
namespace {

Error invalid(std::string message) { return make_error(ErrorCode::kInvalid, std::move(message)); }

/// The value of what stands between ${ and }.
Result<std::string> expand_variable(std::string_view body, const Environment& environment) {
  std::size_t dash = body.find(":-");
  std::string name(body.substr(0, dash));
  bool valid =
      !name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) == 0 &&
      std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
  if (!valid)
    return invalid("${" + std::string(body) +
                   "} is not a variable; write ${NAME} or ${NAME:-default}, and $${ for a literal ${");
  auto value = environment(name);
  if (dash != std::string_view::npos)
    return value && !value->empty() ? *value : std::string(body.substr(dash + 2));
  if (!value)
    return invalid("variable " + name + " is not set; set it, or give a default: ${" + name + ":-...}");
  return *value;
}

/// Walks one document; the file's name and the environment are the same all the way down.
class ConfigReader {
 public:
  ConfigReader(std::string name, const Environment& environment)
      : name_(std::move(name)), environment_(environment) {}

  Result<void> read_map(const YAML::Node& map, const std::string& prefix) {
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return invalid("a key must be a word").with(at(entry.first));
      RILL_TRY(read_entry(entry.first, entry.second, prefix + entry.first.Scalar()));
    }
    return {};
  }

  Settings take() { return std::move(settings_); }

 private:
  Result<void> read_entry(const YAML::Node& key, const YAML::Node& value, const std::string& path) {
    if (const OptionDefinition* option = find_option_by_key(path)) {
      if (value.IsNull()) return {};  // `primary:` with nothing behind it is the default
      if (settings_.contains(option->name))
        return invalid("'" + path + "' is there twice; remove one").with(at(key));
      return read_value(*option, value);
    }
    if (!is_group(path)) return invalid("unknown key '" + path + "'; " + suggestion(path)).with(at(key));
    if (value.IsNull()) return {};
    if (!value.IsMap()) return invalid("'" + path + "' is a group of keys, not a value").with(at(key));
    return read_map(value, path + ".");
  }

  Result<void> read_value(const OptionDefinition& option, const YAML::Node& value) {
    Setting setting{"", std::nullopt, at(value)};
    if (value.IsSequence() && option.kind == ValueKind::kCommand) {
      setting.list.emplace();
      for (const auto& word : value) {
        RILL_ASSIGN(std::string text, expanded(word));
        setting.list->push_back(std::move(text));
      }
    } else if (value.IsScalar()) {
      RILL_ASSIGN(setting.text, expanded(value));
      // `primary: ${PRIMARY:-}` is how one file serves both kinds of node: nothing means the default.
      if (setting.text.empty()) return {};
    } else {
      return invalid("'" + std::string(option.key) + "' takes one value, not several").with(at(value));
    }
    settings_.emplace(option.name, std::move(setting));
    return {};
  }

  Result<std::string> expanded(const YAML::Node& value) {
    if (!value.IsScalar()) return invalid("expected a word").with(at(value));
    auto text = expand(value.Scalar(), environment_);
    if (!text) return text.error().with(at(value));
    return text;
  }

  static bool is_group(const std::string& path) {
    for (const OptionDefinition& option : option_definitions())
      if (option.key.substr(0, path.size() + 1) == path + ".") return true;
    return false;
  }

  /// The full key of which this is the last word, if there is one; else the keys that exist at this level.
  static std::string suggestion(const std::string& path) {
    std::size_t dot = path.rfind('.');
    std::string last = dot == std::string::npos ? path : path.substr(dot + 1);
    std::string prefix = dot == std::string::npos ? "" : path.substr(0, dot + 1);
    std::string known;
    for (const OptionDefinition& option : option_definitions()) {
      if (option.key.size() > last.size() && option.key.substr(option.key.rfind('.') + 1) == last)
        return "did you mean '" + std::string(option.key) + "'?";
      if (option.key.substr(0, prefix.size()) != prefix) continue;
      std::string_view rest = option.key.substr(prefix.size());
      std::string word(rest.substr(0, rest.find('.')));
      if ((", " + known + ",").find(", " + word + ",") == std::string::npos)
        known += (known.empty() ? "" : ", ") + word;
    }
    return "known here: " + known;
  }

  std::string at(const YAML::Node& node) const { return name_ + ":" + std::to_string(node.Mark().line + 1); }

  std::string name_;
  const Environment& environment_;
  Settings settings_;
};

}  // namespace

Result<std::string> expand(std::string_view text, const Environment& environment) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at, 3) == "$${") {
      out += "${";
      at += 3;
    } else if (text.substr(at, 2) == "${") {
      std::size_t end = text.find('}', at);
      if (end == std::string_view::npos)
        return invalid("'" + std::string(text) + "' has a ${ without its }; write $${ for a literal ${");
      RILL_ASSIGN(std::string value, expand_variable(text.substr(at + 2, end - at - 2), environment));
      out += value;
      at = end + 1;
    } else {
      out += text[at++];
    }
  }
  return out;
}

Result<Settings> parse_config(const std::string& content, const std::string& name,
                              const Environment& environment) {
  try {
    YAML::Node document = YAML::Load(content);
    if (document.IsNull()) return Settings{};
    if (!document.IsMap()) return invalid(name + ":1: a configuration is made of lines like 'data: /path'");
    ConfigReader reader(name, environment);
    RILL_TRY(reader.read_map(document, ""));
    return reader.take();
  } catch (const YAML::Exception& error) {
    return invalid(name + ":" + std::to_string(error.mark.line + 1) + ": not valid YAML: " + error.msg);
  }
}

Result<Settings> read_config_file(const std::string& path, const Environment& environment) {
  PosixFileSystem files;
  RILL_ASSIGN(Buffer content, read_file(files, path, kConfigFileSizeMax, "read configuration"));
  return parse_config(std::string(content.begin(), content.end()), path, environment);
}

}  // namespace rillfs::cmd
