// Runs the load in processes and threads and brings together what they measured.
#pragma once

#include "tests/bench/generator/options.h"
#include "tests/bench/generator/results.h"

namespace rillfs::bench {

Results run_workers(const Options& options, std::int64_t rows);

}  // namespace rillfs::bench
