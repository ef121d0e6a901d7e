#include "cmd/show_status.h"

#include <unistd.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/control_client.h"
#include "cmd/report.h"
#include "cmd/status_table.h"
#include "cmd/table.h"

namespace rillfs::cmd {
namespace {

constexpr const char* kHomeAndClear = "\x1b[H\x1b[2J";

/// On a terminal the page is redrawn in place; elsewhere one follows another, as JSON one to a line.
int watch_status(const std::string& data, bool json) {
  bool terminal = isatty(STDOUT_FILENO) == 1;
  bool colour = wants_colour(STDOUT_FILENO);
  while (std::cout) {
    auto status = ask_status(data);
    if (terminal && !json) std::cout << kHomeAndClear;
    if (status && json)
      std::cout << to_json(*status).dump() << std::endl;
    else if (status)
      std::cout << render_status(*status, colour) << std::endl;
    else
      report(status.error());  // a node that restarts comes back
    std::this_thread::sleep_for(std::chrono::seconds(1));
  }
  return kExitFailure;
}

}  // namespace

int run_status(const std::string& data, bool json, bool watch) {
  if (watch) return watch_status(data, json);
  auto status = ask_status(data);
  if (!status) return report(status.error());
  if (json)
    std::cout << to_json(*status).dump(2) << "\n";
  else
    std::cout << render_status(*status, wants_colour(STDOUT_FILENO));
  return std::cout.flush() ? kExitOk : kExitFailure;
}

int run_primary(const std::string& data, bool json) {
  auto status = ask_status(data);
  if (!status) return report(status.error());
  if (json) {
    auto all = to_json(*status);
    nlohmann::json out = {{"primary", all["primary"]},     {"role", all["role"]},
                          {"epoch", all["epoch"]},         {"since_ms", all["primary_since_ms"]},
                          {"connected", all["connected"]}, {"node", all["node"]}};
    if (out["primary"].is_null() && status->role == Role::kPrimary) out["primary"] = all["advertise"];
    std::cout << out.dump(2) << "\n";
  } else {
    std::cout << render_primary(*status, wants_colour(STDOUT_FILENO));
  }
  return std::cout.flush() ? kExitOk : kExitFailure;
}

}  // namespace rillfs::cmd
