// `rillfs verify`: every page of a running node's databases against the checksums of what was committed.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "fs/integrity_check.h"

namespace rillfs::cmd {

/// The keys are an interface: add, never rename. `ok`: looked at to the end, and nothing was wrong.
nlohmann::json to_json(const CheckReport& report);
/// What a person reads about one database: a line, or more where something is wrong.
std::string render_check(const nlohmann::json& database);

/// Asks the daemon on `data`, and waits. `rate`: bytes a second, 0 as fast as it goes. The exit code: 0 if
/// all of them are whole.
int run_verify(const std::string& data, const std::vector<std::string>& names, std::uint64_t rate, bool json,
               bool quiet);

}  // namespace rillfs::cmd
