#include "cmd/status.h"

#include <nlohmann/json.hpp>

#include "cmd/printable.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;

template <class T>
json nullable(const std::optional<T>& value) {
  return value ? json(*value) : json(nullptr);
}
json text_or_null(const std::string& text) { return text.empty() ? json(nullptr) : json(valid_utf8(text)); }

void put_name(json& to, const std::string& name) {
  to["name"] = valid_utf8(name);
  if (to["name"].get_ref<const std::string&>() != name) to["name_hex"] = hex_of(name);
}

json snapshot_json(const std::optional<SnapshotProgress>& progress) {
  if (!progress) return nullptr;
  return {{"bytes_done", progress->bytes_done},
          {"bytes_total", progress->bytes_total},
          {"bytes_per_second", progress->bytes_per_second},
          {"remaining_ms", nullable(remaining_ms(*progress))}};
}

json check_json(const std::optional<CheckStatus>& check) {
  if (!check) return nullptr;
  return {{"at_ms", check->at_ms},
          {"pages", check->pages},
          {"pages_unknown", check->unknown},
          {"pages_damaged", check->damaged}};
}

json database_json(const DatabaseStatus& d) {
  json out = {{"txid", d.txid.value},
              {"checksum", to_hex(d.checksum.value)},
              {"size", d.size},
              {"log_bytes", d.log_bytes},
              {"journal_mode", text_or_null(d.journal_mode)},
              {"capture", text_or_null(d.capture)},
              {"lag_ms", nullable(d.lag_ms)},
              {"lag_txs", nullable(d.lag_txs)},
              {"parked", d.parked},
              {"problem", text_or_null(d.problem)},
              {"snapshot", snapshot_json(d.snapshot)},
              {"damaged", d.damaged},
              {"check", check_json(d.check)}};
  put_name(out, d.name);
  return out;
}

json replica_json(const ReplicaStatus& r) {
  json positions = json::array();
  for (const ReplicaPosition& position : r.positions) {
    json entry = {{"txid", position.txid.value}, {"checksum", nullptr}};
    if (position.checksum.present()) entry["checksum"] = to_hex(position.checksum.value);
    put_name(entry, position.name);
    positions.push_back(std::move(entry));
  }
  return {{"node", to_hex(r.node.value)},
          {"address", text_or_null(r.address)},
          {"connected", r.connected},
          {"since_ms", r.since_ms},
          {"lag_ms", nullable(r.lag_ms)},
          {"lag_txs", nullable(r.lag_txs)},
          {"lag_bytes", nullable(r.lag_bytes)},
          {"positions", std::move(positions)},
          {"snapshot", snapshot_json(r.snapshot)}};
}

// Reading: these throw nlohmann's exceptions or BadStatus, which status_from_json turns into an Error.

struct BadStatus : std::runtime_error {
  using std::runtime_error::runtime_error;
};

std::string text_of(const json& from, const char* key) {
  auto found = from.find(key);
  return found == from.end() || found->is_null() ? "" : found->get<std::string>();
}
template <class T>
T number_of(const json& from, const char* key, T otherwise = 0) {
  auto found = from.find(key);
  if (found == from.end() || found->is_null()) return otherwise;
  if (!found->is_number_integer()) throw BadStatus(std::string(key) + " is not a whole number");
  return found->get<T>();
}
std::optional<std::uint64_t> optional_of(const json& from, const char* key) {
  auto found = from.find(key);
  if (found == from.end() || found->is_null()) return std::nullopt;
  return number_of<std::uint64_t>(from, key);
}
std::uint64_t hex_value(const json& from, const char* key) {
  auto value = from_hex(from.at(key).get_ref<const std::string&>());
  if (!value) throw BadStatus(std::string(key) + " is not 16 hex digits");
  return *value;
}
std::string name_of(const json& from) {
  std::string hex = text_of(from, "name_hex");
  if (hex.empty()) return from.at("name").get<std::string>();
  auto bytes = bytes_of_hex(hex);
  if (!bytes) throw BadStatus("name_hex is not hex");
  return *bytes;
}

std::optional<SnapshotProgress> read_snapshot(const json& from) {
  auto found = from.find("snapshot");
  if (found == from.end() || found->is_null()) return std::nullopt;
  return SnapshotProgress{number_of<std::uint64_t>(*found, "bytes_done"),
                          number_of<std::uint64_t>(*found, "bytes_total"),
                          number_of<std::uint64_t>(*found, "bytes_per_second")};
}

std::optional<CheckStatus> read_check(const json& from) {
  auto found = from.find("check");
  if (found == from.end() || found->is_null()) return std::nullopt;
  return CheckStatus{number_of<std::int64_t>(*found, "at_ms"), number_of<std::uint64_t>(*found, "pages"),
                     number_of<std::uint64_t>(*found, "pages_unknown"),
                     number_of<std::uint64_t>(*found, "pages_damaged")};
}

DatabaseStatus read_database(const json& from) {
  DatabaseStatus d;
  d.name = name_of(from);
  d.txid = Txid{number_of<std::uint64_t>(from, "txid")};
  d.checksum = Checksum{hex_value(from, "checksum")};
  d.size = number_of<std::uint64_t>(from, "size");
  d.log_bytes = number_of<std::uint64_t>(from, "log_bytes");
  d.journal_mode = text_of(from, "journal_mode");
  d.capture = text_of(from, "capture");
  d.lag_ms = optional_of(from, "lag_ms");
  d.lag_txs = optional_of(from, "lag_txs");
  d.parked = number_of<std::uint64_t>(from, "parked");
  d.problem = text_of(from, "problem");
  d.snapshot = read_snapshot(from);
  d.damaged = number_of<std::uint64_t>(from, "damaged");
  d.check = read_check(from);
  return d;
}

ReplicaStatus read_replica(const json& from) {
  ReplicaStatus r;
  r.node = NodeId{hex_value(from, "node")};
  r.address = text_of(from, "address");
  r.connected = from.at("connected").get<bool>();
  r.since_ms = number_of<std::int64_t>(from, "since_ms");
  r.lag_ms = optional_of(from, "lag_ms");
  r.lag_txs = optional_of(from, "lag_txs");
  r.lag_bytes = optional_of(from, "lag_bytes");
  r.snapshot = read_snapshot(from);
  for (const json& entry : from.value("positions", json::array()))
    r.positions.push_back(
        {name_of(entry), Txid{number_of<std::uint64_t>(entry, "txid")},
         entry.at("checksum").is_null() ? Checksum{} : Checksum{hex_value(entry, "checksum")}});
  return r;
}

NodeStatus read_status(const json& from) {
  NodeStatus s;
  s.node = NodeId{hex_value(from, "node")};
  std::string role = from.at("role").get<std::string>();
  if (role != "primary" && role != "replica") throw BadStatus("role is neither primary nor replica");
  s.role = role == "primary" ? Role::kPrimary : Role::kReplica;
  s.epoch = Epoch{number_of<std::uint64_t>(from, "epoch")};
  if (from.contains("cluster")) s.cluster = ClusterId{hex_value(from, "cluster")};
  s.version = text_of(from, "version");
  s.now_ms = number_of<std::int64_t>(from, "now_ms");
  s.role_since_ms = number_of<std::int64_t>(from, "role_since_ms");
  s.primary = text_of(from, "primary");
  s.primary_since_ms = number_of<std::int64_t>(from, "primary_since_ms");
  s.connected = from.value("connected", true);
  s.advertise = text_of(from, "advertise");
  s.capture = text_of(from, "capture");
  s.capture_why = text_of(from, "capture_why");
  s.data = text_of(from, "data");
  s.mountpoint = text_of(from, "mountpoint");
  const json requests = from.value("requests", json::object());
  for (const auto& [kind, count] : requests.items())
    s.requests.emplace_back(kind, count.get<std::uint64_t>());
  const json polls = from.value("polls", json::object());
  for (const auto& [end, count] : polls.items()) s.polls.emplace_back(end, count.get<std::uint64_t>());
  for (const json& entry : from.at("databases")) s.databases.push_back(read_database(entry));
  for (const json& entry : from.at("replicas")) s.replicas.push_back(read_replica(entry));
  for (const json& name : from.value("parked", json::array())) s.parked.push_back(name.get<std::string>());
  return s;
}

}  // namespace

std::optional<std::uint64_t> remaining_ms(const SnapshotProgress& progress) {
  if (progress.bytes_total == 0 || progress.bytes_per_second == 0) return std::nullopt;
  if (progress.bytes_done >= progress.bytes_total) return 0;
  double left = static_cast<double>(progress.bytes_total - progress.bytes_done);
  return static_cast<std::uint64_t>(left * 1000.0 / static_cast<double>(progress.bytes_per_second));
}

json to_json(const NodeStatus& s) {
  json out = {{"node", to_hex(s.node.value)},
              {"role", s.role == Role::kPrimary ? "primary" : "replica"},
              {"epoch", s.epoch.value},
              {"cluster", to_hex(s.cluster.value)},
              {"version", valid_utf8(s.version)},
              {"now_ms", s.now_ms},
              {"role_since_ms", s.role_since_ms},
              {"primary", text_or_null(s.primary)},
              {"primary_since_ms", s.primary_since_ms == 0 ? json(nullptr) : json(s.primary_since_ms)},
              {"connected", s.connected},
              {"advertise", text_or_null(s.advertise)},
              {"data", text_or_null(s.data)},
              {"mountpoint", text_or_null(s.mountpoint)},
              {"capture", text_or_null(s.capture)},
              {"capture_why", text_or_null(s.capture_why)},
              {"requests", json::object()},
              {"polls", json::object()},
              {"databases", json::array()},
              {"replicas", json::array()},
              {"parked", json::array()}};
  for (const auto& [kind, count] : s.requests) out["requests"][kind] = count;
  for (const auto& [end, count] : s.polls) out["polls"][end] = count;
  for (const DatabaseStatus& database : s.databases) out["databases"].push_back(database_json(database));
  for (const ReplicaStatus& replica : s.replicas) out["replicas"].push_back(replica_json(replica));
  for (const std::string& name : s.parked) out["parked"].push_back(valid_utf8(name));
  return out;
}

Result<NodeStatus> status_from_json(const json& json) {
  try {
    return read_status(json);
  } catch (const nlohmann::json::exception& error) {
    return make_error(ErrorCode::kInvalid, std::string("not a status: ") + error.what());
  } catch (const BadStatus& error) {
    return make_error(ErrorCode::kInvalid, std::string("not a status: ") + error.what());
  }
}

}  // namespace rillfs::cmd
