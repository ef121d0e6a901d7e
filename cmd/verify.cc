#include "cmd/verify.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cmd/control_client.h"
#include "cmd/printable.h"
#include "cmd/progress_bar.h"
#include "cmd/report.h"
#include "cmd/table.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;
constexpr std::chrono::milliseconds kAskEvery{100};

Result<json> wait_for(const std::string& data, const json& job, ProgressBar& bar) {
  for (;;) {
    RILL_ASSIGN(json now, ask_daemon(data, {{"command", "verify progress"}, {"job", job}}));
    bar.update(now.at("done").get<std::uint64_t>(), now.at("total").get<std::uint64_t>());
    if (now.at("finished").get<bool>()) return Result<json>(boost::system::in_place_value, std::move(now));
    std::this_thread::sleep_for(kAskEvery);
  }
}

Result<json> verify(const std::string& data, const std::vector<std::string>& names, std::uint64_t rate,
                    bool quiet) {
  json request = {{"command", "verify"}, {"names_hex", json::array()}, {"rate", rate}};
  for (const std::string& name : names) request["names_hex"].push_back(hex_of(name));
  RILL_ASSIGN(json begun, ask_daemon(data, request));
  ProgressBar bar("verify", quiet);
  return wait_for(data, begun.at("job"), bar);
}

}  // namespace

json to_json(const CheckReport& report) {
  json out = {{"name", valid_utf8(report.name)},
              {"ok", report.problem.empty()},
              {"complete", report.complete},
              {"position", to_text(report.position)},
              {"size", report.size},
              {"pages", report.pages},
              {"pages_unknown", report.unknown},
              {"pages_damaged", report.damaged},
              {"damaged", json::array()},
              {"problem", report.problem.empty() ? json(nullptr) : json(valid_utf8(report.problem))}};
  for (Pgno pgno : report.damaged_pages) out["damaged"].push_back(pgno.value);
  if (out["name"].get_ref<const std::string&>() != report.name) out["name_hex"] = hex_of(report.name);
  return out;
}

std::string render_check(const json& database) {
  const auto name = printable(database.at("name").get<std::string>());
  if (!database.at("ok").get<bool>())
    return name + "  " + printable(database.at("problem").get<std::string>());
  std::string line = name + "  ok, " + human_count(database.at("pages").get<std::uint64_t>()) + " pages, " +
                     human_size(database.at("size").get<std::uint64_t>()) + ", at " +
                     database.at("position").get<std::string>();
  const auto unknown = database.at("pages_unknown").get<std::uint64_t>();
  if (unknown > 0) line += "; " + human_count(unknown) + " more are not in the file yet";
  return line;
}

int run_verify(const std::string& data, const std::vector<std::string>& names, std::uint64_t rate,
               bool as_json, bool quiet) {
  auto result = verify(data, names, rate, quiet);
  if (!result) return report(result.error());
  bool ok = true;
  for (const json& database : result->at("databases")) {
    const bool whole = database.at("ok").get<bool>();
    ok = ok && whole;
    if (!as_json) (whole ? std::cout : std::cerr) << render_check(database) << std::endl;
  }
  if (as_json) std::cout << json({{"ok", ok}, {"databases", result->at("databases")}}).dump(2) << std::endl;
  return ok && std::cout.flush() ? kExitOk : kExitFailure;
}

}  // namespace rillfs::cmd
