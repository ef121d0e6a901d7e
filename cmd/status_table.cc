#include "cmd/status_table.h"

#include <algorithm>

#include "cmd/printable.h"
#include "cmd/table.h"

namespace rillfs::cmd {
namespace {

// Beyond these a lag is worth a person's attention; below, it is a heartbeat's granularity.
constexpr std::uint64_t kLagNoticedMs = 2000;
constexpr std::uint64_t kLagWorryingMs = 30000;

std::string since(std::int64_t at_ms, std::int64_t now_ms) {
  if (at_ms == 0) return "";
  auto age = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ms - at_ms, 0));
  return "since " + utc_time(at_ms) + " (" + human_duration(age) + ")";
}

Table::Cell lag_cell(const std::optional<std::uint64_t>& lag_ms) {
  if (!lag_ms) return {"-", Colour::kDim};
  Colour colour = *lag_ms >= kLagWorryingMs  ? Colour::kRed
                  : *lag_ms >= kLagNoticedMs ? Colour::kYellow
                                             : Colour::kGreen;
  return {human_duration(*lag_ms), colour};
}

Table::Cell count_cell(const std::optional<std::uint64_t>& count) {
  return count ? Table::Cell{human_count(*count)} : Table::Cell{"-", Colour::kDim};
}
Table::Cell size_cell(const std::optional<std::uint64_t>& bytes) {
  return bytes ? Table::Cell{human_size(*bytes)} : Table::Cell{"-", Colour::kDim};
}

std::string progress_text(const SnapshotProgress& p) {
  std::string out = "snapshot ";
  if (p.bytes_total > 0) {
    double share =
        static_cast<double>(std::min(p.bytes_done, p.bytes_total)) / static_cast<double>(p.bytes_total);
    out += std::to_string(static_cast<int>(share * 100)) + "% of " + human_size(p.bytes_total);
  } else {
    out += human_size(p.bytes_done);
  }
  if (p.bytes_per_second > 0) out += ", " + human_size(p.bytes_per_second) + "/s";
  if (auto left = remaining_ms(p)) out += ", " + human_duration(*left) + " left";
  return out;
}

std::string journal_text(const DatabaseStatus& d) {
  if (d.journal_mode.empty()) return "-";
  return printable(d.capture.empty() ? d.journal_mode : d.journal_mode + ", " + d.capture);
}

Table::Cell note_of(const DatabaseStatus& d) {
  if (!d.problem.empty()) return {printable(d.problem), Colour::kRed};
  if (d.snapshot) return {progress_text(*d.snapshot), Colour::kYellow};
  if (d.parked > 0)
    return {human_count(d.parked) + (d.parked == 1 ? " parked branch" : " parked branches"), Colour::kYellow};
  return {};
}

std::string header(const NodeStatus& s, bool colour) {
  bool primary = s.role == Role::kPrimary;
  std::string out = coloured(primary ? "primary" : "replica", Colour::kBold, colour) + "  node " +
                    to_hex(s.node.value) + "  epoch " + std::to_string(s.epoch.value);
  if (s.role_since_ms != 0) out += "  " + since(s.role_since_ms, s.now_ms);
  out += "\n";
  if (!s.mountpoint.empty()) out += "mount    " + printable(s.mountpoint) + "\n";
  if (primary) {
    if (!s.advertise.empty()) out += "address  " + printable(s.advertise) + "\n";
    if (!s.capture.empty()) {
      out += "capture  " + printable(s.capture);
      if (!s.capture_why.empty()) out += ": " + printable(s.capture_why);
      out += "\n";
    }
    return out;
  }
  out += "primary  " + (s.primary.empty() ? "not known" : printable(s.primary)) + "  " +
         (s.connected ? coloured("connected", Colour::kGreen, colour)
                      : coloured("not connected", Colour::kRed, colour)) +
         "\n";
  return out;
}

std::string databases(const NodeStatus& s, bool colour) {
  if (s.databases.empty()) return "No databases yet.\n";
  bool replica = s.role == Role::kReplica;
  std::vector<Table::Column> columns = {{"DATABASE"},   {"TXID", true}, {"CHECKSUM"},
                                        {"SIZE", true}, {"LOG", true},  {"JOURNAL"}};
  if (replica) columns.push_back({"LAG", true});
  columns.push_back({""});
  Table table(std::move(columns));
  for (const DatabaseStatus& d : s.databases) {
    std::vector<Table::Cell> row = {{printable(d.name), Colour::kBold}, {human_count(d.txid.value)},
                                    {to_hex(d.checksum.value)},         {human_size(d.size)},
                                    {human_size(d.log_bytes)},          {journal_text(d)}};
    if (replica) row.push_back(lag_cell(d.lag_ms));
    row.push_back(note_of(d));
    table.add(std::move(row));
  }
  return table.render(colour);
}

std::string replicas(const NodeStatus& s, bool colour) {
  if (s.replicas.empty()) return "No replicas yet.\n";
  Table table({{"REPLICA"}, {"ADDRESS"}, {"STATE"}, {"LAG", true}, {"TXS", true}, {"BYTES", true}, {""}});
  for (const ReplicaStatus& r : s.replicas) {
    auto age = static_cast<std::uint64_t>(std::max<std::int64_t>(s.now_ms - r.since_ms, 0));
    std::string state = r.connected ? "connected" : "gone for " + human_duration(age);
    table.add({{to_hex(r.node.value)},
               {r.address.empty() ? "-" : printable(r.address)},
               {state, r.connected ? Colour::kGreen : Colour::kRed},
               lag_cell(r.lag_ms),
               count_cell(r.lag_txs),
               size_cell(r.lag_bytes),
               r.snapshot ? Table::Cell{progress_text(*r.snapshot), Colour::kYellow} : Table::Cell{}});
  }
  std::string out = table.render(colour);
  // Where each replica stands, database by database.
  Table positions({{"REPLICA"}, {"DATABASE"}, {"TXID", true}, {"CHECKSUM"}});
  bool any = false;
  for (const ReplicaStatus& r : s.replicas)
    for (const ReplicaPosition& p : r.positions) {
      positions.add({{to_hex(r.node.value)},
                     {printable(p.name), Colour::kBold},
                     {human_count(p.txid.value)},
                     {p.checksum.present() ? to_hex(p.checksum.value) : "-"}});
      any = true;
    }
  return any ? out + "\n" + positions.render(colour) : out;
}

std::string parked(const NodeStatus& s, bool colour) {
  if (s.parked.empty()) return "";
  const std::string count =
      human_count(s.parked.size()) + (s.parked.size() == 1 ? " branch is" : " branches are");
  std::string out = "\n" + coloured(count + " parked", Colour::kYellow, colour) + " (rillfs parked list)\n";
  for (const std::string& name : s.parked) out += "  " + printable(name) + "\n";
  return out;
}

}  // namespace

std::string render_status(const NodeStatus& status, bool colour) {
  std::string out = header(status, colour) + "\n" + databases(status, colour);
  if (status.role == Role::kPrimary) out += "\n" + replicas(status, colour);
  return out + parked(status, colour);
}

std::string render_primary(const NodeStatus& s, bool colour) {
  std::string address = s.role == Role::kPrimary && s.primary.empty() ? s.advertise : s.primary;
  if (address.empty()) return "not known\n";
  std::string out = coloured(printable(address), Colour::kBold, colour);
  out += s.role == Role::kPrimary ? "  this node" : s.connected ? "  connected" : "  not connected";
  out += "  epoch " + std::to_string(s.epoch.value);
  if (s.primary_since_ms != 0) out += "  " + since(s.primary_since_ms, s.now_ms);
  return out + "\n";
}

}  // namespace rillfs::cmd
