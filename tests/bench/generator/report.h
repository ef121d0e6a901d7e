// What rillfs-bench prints.
#pragma once

#include <string>

#include "tests/bench/generator/options.h"
#include "tests/bench/generator/results.h"

namespace rillfs::bench {

std::string as_text(const Options& options, const Results& results);
std::string as_json(const Options& options, const Results& results);

}  // namespace rillfs::bench
