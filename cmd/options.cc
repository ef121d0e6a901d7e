#include "cmd/options.h"

#include <array>
#include <sstream>

namespace rillfs::cmd {
namespace {

template <auto Member>
Result<void> set_text(Config& config, const Setting& setting) {
  if (setting.text.empty()) return make_error(ErrorCode::kInvalid, "is empty; give a path or leave it out");
  config.*Member = setting.text;
  return {};
}
template <auto Member>
Result<void> set_address(Config& config, const Setting& setting) {
  RILL_ASSIGN(config.*Member, parse_host_port(setting.text));
  return {};
}
template <auto Member>
Result<void> set_switch(Config& config, const Setting& setting) {
  RILL_ASSIGN(config.*Member, parse_switch(setting.text));
  return {};
}
template <auto Member>
Result<void> set_duration(Config& config, const Setting& setting) {
  RILL_ASSIGN(config.*Member, parse_duration(setting.text));
  return {};
}
template <auto Member>
Result<void> set_size(Config& config, const Setting& setting) {
  RILL_ASSIGN(config.*Member, parse_size(setting.text));
  return {};
}
template <auto Member>
Result<void> set_id(Config& config, const Setting& setting) {
  // The highest id means "no change" to chown(2).
  RILL_ASSIGN(config.*Member, parse_number(setting.text, 0xfffffffe));
  return {};
}
Result<void> set_mode(Config& config, const Setting& setting) {
  RILL_ASSIGN(config.replica_mode, parse_mode(setting.text));
  return {};
}

constexpr std::array<std::string_view, 2> kFormats = {"text", "json"};
constexpr std::array<std::string_view, 3> kCaptures = {"auto", "hold", "tail"};
constexpr std::array<std::string_view, 5> kLevels = {"trace", "debug", "info", "warning", "error"};

template <auto Member, auto& Names>
Result<void> set_choice(Config& config, const Setting& setting) {
  std::string known;
  for (std::size_t i = 0; i < Names.size(); ++i) {
    if (setting.text == Names[i]) {
      config.*Member = static_cast<std::decay_t<decltype(config.*Member)>>(i);
      return {};
    }
    known += (i == 0 ? "" : ", ") + std::string(Names[i]);
  }
  return make_error(ErrorCode::kInvalid, "'" + setting.text + "' is not one of " + known);
}

/// A list is run as it is; a line of text is given to the shell.
Result<void> set_exec(Config& config, const Setting& setting) {
  if (setting.list)
    config.exec = *setting.list;
  else
    config.exec = {"/bin/sh", "-c", setting.text};
  if (config.exec.empty() || config.exec.back().empty())
    return make_error(ErrorCode::kInvalid, "is empty; give a command or leave it out");
  return {};
}

std::string octal(std::uint32_t mode) {
  std::ostringstream out;
  out << '0' << std::oct << mode;
  return out.str();
}
template <auto Member>
std::string get_id(const Config& config) {
  return config.*Member ? std::to_string(*(config.*Member)) : "";
}
std::string get_switch(bool value) { return value ? "true" : "false"; }
std::string get_exec(const Config& config) {
  std::string line;
  for (const std::string& word : config.exec) line += (line.empty() ? "" : " ") + word;
  return line;
}

using C = Config;
constexpr auto kDir = ValueKind::kDirectory;
constexpr auto kSwitch = ValueKind::kSwitch;
constexpr auto kTime = ValueKind::kDuration;

const std::array kOptions = {
    OptionDefinition{"data", "data", "RILLFS_DATA", kDir, "", "/var/lib/rillfs", "", "Node",
                     "Where this node keeps its databases and its log", set_text<&C::data>,
                     [](const C& c) { return c.data; }},
    OptionDefinition{"mountpoint", "mountpoint", "RILLFS_MOUNTPOINT", kDir, "", "", "none; required by mount",
                     "Node", "Where applications find the databases", set_text<&C::mountpoint>,
                     [](const C& c) { return c.mountpoint; }},
    OptionDefinition{"listen", "listen", "RILLFS_LISTEN", ValueKind::kAddress, "", "127.0.0.1:20202", "",
                     "Node", "Where this node waits for other nodes", set_address<&C::listen>,
                     [](const C& c) { return to_text(c.listen); }},
    OptionDefinition{"advertise", "advertise", "RILLFS_ADVERTISE", ValueKind::kAddress, "", "",
                     "as listen; the host name if that is every interface", "Node",
                     "How other nodes reach this one", set_address<&C::advertise>,
                     [](const C& c) { return to_text(c.advertise); }},
    OptionDefinition{"primary", "primary", "RILLFS_PRIMARY", ValueKind::kAddress, "", "",
                     "none: this node is the primary", "Node", "Follow the primary at this address",
                     set_address<&C::primary>,
                     [](const C& c) { return c.primary ? to_text(*c.primary) : ""; }},
    OptionDefinition{"candidate", "candidate", "RILLFS_CANDIDATE", kSwitch, "", "",
                     "true without a primary, false with one", "Node",
                     "May become primary; a replica that may lets "
                     "writers wait (SQLITE_BUSY) instead of refusing them",
                     set_switch<&C::candidate>, [](const C& c) { return get_switch(c.candidate); }},
    OptionDefinition{"exec", "exec", "RILLFS_EXEC", ValueKind::kCommand, "", "", "none", "Node",
                     "Command to run once the databases are ready: a list, or a line for the shell", set_exec,
                     get_exec},
    OptionDefinition{"allow-other", "mount.allow_other", "RILLFS_ALLOW_OTHER", kSwitch, "", "",
                     "true for root, false for others", "Mount", "Other users may use the mount",
                     set_switch<&C::allow_other>, [](const C& c) { return get_switch(c.allow_other); }},
    OptionDefinition{
        "capture", "mount.capture", "RILLFS_CAPTURE", ValueKind::kChoice, "auto|hold|tail", "auto", "",
        "Mount",
        "How commits in WAL mode are found: tail is fast, hold can refuse each; auto is tail where it can be",
        set_choice<&C::capture, kCaptures>,
        [](const C& c) { return std::string(kCaptures[static_cast<std::size_t>(c.capture)]); }},
    OptionDefinition{"log-level", "log.level", "RILLFS_LOG_LEVEL", ValueKind::kChoice,
                     "trace|debug|info|warning|error", "info", "", "Logging",
                     "The least important messages to log", set_choice<&C::log_level, kLevels>,
                     [](const C& c) { return std::string(kLevels[static_cast<std::size_t>(c.log_level)]); }},
    OptionDefinition{
        "log-format", "log.format", "RILLFS_LOG_FORMAT", ValueKind::kChoice, "text|json", "text", "",
        "Logging", "Log lines for people or for programs", set_choice<&C::log_format, kFormats>,
        [](const C& c) { return std::string(kFormats[static_cast<std::size_t>(c.log_format)]); }},
    OptionDefinition{"heartbeat", "replication.heartbeat", "RILLFS_HEARTBEAT", kTime, "", "1s", "",
                     "Replication", "How often nodes tell each other that they are there",
                     set_duration<&C::heartbeat>, [](const C& c) { return duration_text(c.heartbeat); }},
    OptionDefinition{"peer-timeout", "replication.peer_timeout", "RILLFS_PEER_TIMEOUT", kTime, "", "5s", "",
                     "Replication", "A node that is silent for this long is gone",
                     set_duration<&C::peer_timeout>,
                     [](const C& c) { return duration_text(c.peer_timeout); }},
    OptionDefinition{"retention-bytes", "retention.bytes", "RILLFS_RETENTION_BYTES", ValueKind::kSize, "",
                     "256MiB", "", "Log", "Change sets to keep per database, in bytes",
                     set_size<&C::retention_bytes>, [](const C& c) { return size_text(c.retention_bytes); }},
    OptionDefinition{"retention-time", "retention.time", "RILLFS_RETENTION_TIME", kTime, "", "24h", "", "Log",
                     "How long to keep change sets, as far as the bytes allow",
                     set_duration<&C::retention_time>,
                     [](const C& c) { return duration_text(c.retention_time); }},
    OptionDefinition{"segment-size", "retention.segment_size", "RILLFS_SEGMENT_SIZE", ValueKind::kSize, "",
                     "64MiB", "", "Log", "Size at which a log segment is closed and the next one begun",
                     set_size<&C::segment_size>, [](const C& c) { return size_text(c.segment_size); }},
    OptionDefinition{
        "scrub-interval", "scrub.interval", "RILLFS_SCRUB_INTERVAL", kTime, "", "24h", "", "Integrity",
        "How often all databases are read and compared with their checksums; 0 for never",
        set_duration<&C::scrub_interval>, [](const C& c) { return duration_text(c.scrub_interval); }},
    OptionDefinition{"scrub-rate", "scrub.rate", "RILLFS_SCRUB_RATE", ValueKind::kSize, "", "4MiB", "",
                     "Integrity", "Bytes a second of that; more where the interval would be too short",
                     set_size<&C::scrub_rate>, [](const C& c) { return size_text(c.scrub_rate); }},
    OptionDefinition{"verify-rate", "verify.rate", "RILLFS_VERIFY_RATE", ValueKind::kSize, "", "100MiB", "",
                     "Integrity", "Bytes a second that rillfs verify reads; 0 for as fast as it goes",
                     set_size<&C::verify_rate>, [](const C& c) { return size_text(c.verify_rate); }},
    OptionDefinition{"wal-limit", "replica.wal_limit", "RILLFS_WAL_LIMIT", ValueKind::kSize, "", "4GiB", "",
                     "Replica", "How far a WAL may grow while readers hold it back", set_size<&C::wal_limit>,
                     [](const C& c) { return size_text(c.wal_limit); }},
    OptionDefinition{"replica-uid", "replica.uid", "RILLFS_REPLICA_UID", ValueKind::kNumber, "", "",
                     "as on the primary", "Replica", "Owner of the replicated databases",
                     set_id<&C::replica_uid>, get_id<&C::replica_uid>},
    OptionDefinition{"replica-gid", "replica.gid", "RILLFS_REPLICA_GID", ValueKind::kNumber, "", "",
                     "as on the primary", "Replica", "Group of the replicated databases",
                     set_id<&C::replica_gid>, get_id<&C::replica_gid>},
    OptionDefinition{"replica-mode", "replica.mode", "RILLFS_REPLICA_MODE", ValueKind::kNumber, "", "",
                     "as on the primary", "Replica", "Permissions of the replicated databases, in octal",
                     set_mode, [](const C& c) { return c.replica_mode ? octal(*c.replica_mode) : ""; }},
};

}  // namespace

std::span<const OptionDefinition> option_definitions() { return kOptions; }

const OptionDefinition* find_option_by_key(std::string_view key) {
  for (const OptionDefinition& option : kOptions)
    if (option.key == key) return &option;
  return nullptr;
}

std::string placeholder(const OptionDefinition& option) {
  switch (option.kind) {
    case ValueKind::kDirectory:
      return "DIR";
    case ValueKind::kAddress:
      return "HOST:PORT";
    case ValueKind::kSwitch:
      return "true|false";
    case ValueKind::kChoice:
      return std::string(option.choices);
    case ValueKind::kDuration:
      return "TIME";
    case ValueKind::kSize:
      return "SIZE";
    case ValueKind::kNumber:
      return option.name == "replica-mode" ? "MODE" : "ID";
    case ValueKind::kCommand:
      return "COMMAND";
  }
  return "";
}

std::string_view default_text(const OptionDefinition& option) {
  return option.fallback.empty() ? option.fallback_text : option.fallback;
}

bool has_flag(const OptionDefinition& option) { return option.name != "mountpoint" && option.name != "exec"; }

std::string options_as_markdown() {
  std::string out =
      "| key | flag | environment | default | what it does |\n| --- | --- | --- | --- | --- |\n";
  for (const OptionDefinition& option : kOptions) {
    std::string fallback(default_text(option));
    if (!option.fallback.empty()) fallback = "`" + fallback + "`";
    std::string flag = "`--" + std::string(option.name) + "`";
    if (option.name == "mountpoint") flag = "`MOUNTPOINT`";
    if (option.name == "exec") flag = "`-- COMMAND`";
    out += "| `" + std::string(option.key) + "` | " + flag + " | `" + std::string(option.variable) + "` | " +
           fallback + " | " + std::string(option.help) + " |\n";
  }
  return out;
}

}  // namespace rillfs::cmd
