// Log lines as JSON objects, one a line: {"time":..., "level":..., "message":...}.
#pragma once

#include <spdlog/formatter.h>

#include <memory>

namespace rillfs::cmd {

std::unique_ptr<spdlog::formatter> make_json_formatter();

}  // namespace rillfs::cmd
