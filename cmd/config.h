// The configuration of a node, complete and checked.
//
// Where a value comes from, first one wins: flag, environment, configuration file, default. The table of all
// options (cmd/options.h) knows the name of each in all three places; this header only holds the result.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cmd/quantities.h"
#include "replication/base/error.h"

namespace rillfs::cmd {

/// How commits in a WAL are found: by each write, or by reading along behind a file that is passed through.
enum class CaptureChoice { kAuto, kHold, kTail };
enum class LogFormat { kText, kJson };
enum class LogLevel { kTrace, kDebug, kInfo, kWarning, kError };

struct Config {
  std::string data;        ///< the data directory; absolute once resolved
  std::string mountpoint;  ///< empty until known: `mount` needs it, the other commands do not
  HostPort listen;
  HostPort advertise;               ///< the address that other nodes are told
  std::optional<HostPort> primary;  ///< set: this node is a replica of that one
  bool candidate = true;            ///< may be the primary

  bool allow_other = false;  ///< other users may use the mount
  CaptureChoice capture = CaptureChoice::kAuto;

  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;

  std::chrono::milliseconds heartbeat{};
  std::chrono::milliseconds peer_timeout{};

  std::uint64_t retention_bytes = 0;           ///< per database
  std::chrono::milliseconds retention_time{};  ///< change sets younger than this are kept if bytes allow
  std::uint64_t segment_size = 0;              ///< bytes after which a log segment is closed

  std::chrono::milliseconds scrub_interval{};  ///< between the beginnings of two rounds; 0: never
  std::uint64_t scrub_rate = 0;                ///< bytes a second, at least
  std::uint64_t verify_rate = 0;               ///< of `rillfs verify`; 0: as fast as it goes

  std::uint64_t wal_limit = 0;  ///< bytes a replica's WAL may grow to before it is restarted
  std::optional<std::uint32_t> replica_uid, replica_gid, replica_mode;  ///< instead of the primary's

  std::vector<std::string> exec;  ///< program and arguments to run on the mount; empty: none
};

/// One value before it is parsed, and where it was written ("rillfs.yml:7", "--heartbeat").
struct Setting {
  std::string text;
  std::optional<std::vector<std::string>> list;  ///< set if written as a list; only `exec` takes one
  std::string origin;
};
/// By option name (`OptionDefinition::name`).
using Settings = std::map<std::string, Setting, std::less<>>;
/// Looks up one variable; nothing if it is not set.
using Environment = std::function<std::optional<std::string>(const std::string&)>;

/// The environment of this process.
Environment process_environment();

/// Merges flags over environment over file over defaults, parses and checks. kInvalid with the origin of the
/// offending value in front.
Result<Config> make_config(const Settings& flags, const Environment& environment, const Settings& file);

}  // namespace rillfs::cmd
