// rillfs-bench: a load generator for SQLite databases in any directory. `--help` explains it.
#include <iostream>

#include "tests/bench/generator/database.h"
#include "tests/bench/generator/options.h"
#include "tests/bench/generator/report.h"
#include "tests/bench/generator/workers.h"

int main(int argc, char** argv) {
  using namespace rillfs::bench;
  const Parsed parsed = parse(argc, argv);
  if (parsed.exit_code) return *parsed.exit_code;
  const Options& options = parsed.options;
  const std::int64_t rows = prepare(options);
  const Results results = run_workers(options, rows);
  std::cout << (options.json ? as_json(options, results) : as_text(options, results));
  return results.transactions() > 0 ? 0 : 1;
}
