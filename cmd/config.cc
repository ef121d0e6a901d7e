#include "cmd/config.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>

#include "cmd/options.h"

namespace rillfs::cmd {
namespace {

using std::chrono::milliseconds;

bool is_every_interface(const HostPort& address) { return address.host == "0.0.0.0" || address.host == "::"; }

Result<HostPort> default_advertise(const HostPort& listen) {
  if (!is_every_interface(listen)) return listen;
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return errno_error(errno, "gethostname");
  return HostPort{name.data(), listen.port};
}

std::string absolute(const std::string& path) {
  if (path.empty()) return path;
  std::error_code failed;  // no working directory: the path is used as it is
  auto resolved = std::filesystem::absolute(path, failed).lexically_normal();
  if (failed) return path;
  std::string text = resolved.string();
  if (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

Error invalid(std::string message) { return make_error(ErrorCode::kInvalid, std::move(message)); }

/// Rules between options: each message says what, why and what to do.
Result<void> check(const Config& c) {
  if (!c.primary && !c.candidate)
    return invalid(
        "candidate: this node may not be the primary and knows of no other; give the primary's "
        "address with --primary HOST:PORT");
  if (is_every_interface(c.advertise))
    return invalid("advertise: other nodes cannot connect to " + c.advertise.host +
                   "; give an address of this machine");
  if (c.primary && c.primary->port == 0) return invalid("primary: port 0 is nobody's; give the real one");
  if (c.heartbeat < milliseconds(10))
    return invalid("replication.heartbeat: below 10ms nodes do nothing else; use 1s or so");
  if (c.peer_timeout < 2 * c.heartbeat)
    return invalid("replication.peer_timeout: " + duration_text(c.peer_timeout) +
                   " leaves no room for one late heartbeat; make it at least twice replication.heartbeat (" +
                   duration_text(c.heartbeat) + ")");
  if (c.segment_size < 64 * 1024 || c.segment_size > (std::uint64_t{1} << 40))
    return invalid("retention.segment_size: must be between 64KiB and 1TiB; 64MiB suits most");
  if (c.scrub_rate < (std::uint64_t{64} << 10))
    return invalid("scrub.rate: must be at least 64KiB; to have no scrub, set scrub.interval to 0");
  if (c.wal_limit < (std::uint64_t{1} << 20))
    return invalid(
        "replica.wal_limit: below 1MiB a replica could not take ordinary transactions; use 4GiB "
        "or so");
  return {};
}

/// Data inside the mount, or the mount inside the data: the daemon would wait for itself.
Result<void> check_paths(const Config& c) {
  auto inside = [](const std::string& inner, const std::string& outer) {
    return inner == outer || inner.rfind(outer == "/" ? outer : outer + "/", 0) == 0;
  };
  if (!c.mountpoint.empty() && (inside(c.data, c.mountpoint) || inside(c.mountpoint, c.data)))
    return invalid("data: " + c.data + " and the mountpoint " + c.mountpoint +
                   " contain one another, so the node would wait for itself; keep them apart");
  return {};
}

Result<void> complete(Config& config, const Settings& given) {
  if (!given.contains("candidate")) config.candidate = !config.primary.has_value();
  if (!given.contains("allow-other")) config.allow_other = geteuid() == 0;
  if (!given.contains("advertise")) {
    RILL_ASSIGN(config.advertise, default_advertise(config.listen));
  }
  config.data = absolute(config.data);
  config.mountpoint = absolute(config.mountpoint);
  return {};
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    if (const char* value = std::getenv(name.c_str())) return value;
    return std::nullopt;
  };
}

Result<Config> make_config(const Settings& flags, const Environment& environment, const Settings& file) {
  Config config;
  Settings given;
  for (const OptionDefinition& option : option_definitions()) {
    std::string name(option.name);
    if (auto flag = flags.find(name); flag != flags.end()) {
      given[name] = flag->second;
    } else if (auto variable = environment(std::string(option.variable)); variable && !variable->empty()) {
      // An empty variable counts as unset: that is how a container's settings are switched off.
      given[name] = Setting{*variable, std::nullopt, "environment variable " + std::string(option.variable)};
    } else if (auto entry = file.find(name); entry != file.end()) {
      given[name] = entry->second;
    } else if (!option.fallback.empty()) {
      RILL_TRY(option.set(config, Setting{std::string(option.fallback), std::nullopt, "default"}));
      continue;
    } else {
      continue;
    }
    if (auto set = option.set(config, given[name]); !set)
      return set.error().with(std::string(option.key)).with(given[name].origin);
  }
  RILL_TRY(complete(config, given));
  RILL_TRY(check(config));
  RILL_TRY(check_paths(config));
  return config;
}

}  // namespace rillfs::cmd
