// What rillfs-bench is asked to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace rillfs::bench {

struct Options {
  std::string directory;
  std::string database = "bench.db";
  unsigned processes = 1;
  unsigned threads = 1;  // of each process
  unsigned reads_percent = 0;
  unsigned scans_percent = 0;  // the rest writes
  std::string write = "insert";
  std::int64_t transaction_rows = 1;
  std::int64_t value_bytes = 100;
  std::int64_t rows = 10'000;  // in the table before the run
  std::string journal_mode = "WAL";
  std::string synchronous = "NORMAL";
  std::int64_t checkpoint_pages = 1000;
  double rate = 0;
  double duration_s = 10;
  double warm_up_s = 1;
  std::int64_t transactions = 0;  // of all workers together; 0: as many as there is time for
  int busy_timeout_ms = 10'000;
  std::uint64_t seed = 1;
  bool json = false;
  bool buckets = false;

  unsigned workers() const { return processes * threads; }
  bool writes() const { return reads_percent + scans_percent < 100; }
  std::string path() const { return directory + "/" + database; }
};

/// Of the command line. When there is nothing to run (help, a mistake) `exit_code` says how to end.
struct Parsed {
  Options options;
  std::optional<int> exit_code;
};
Parsed parse(int argc, char** argv);

}  // namespace rillfs::bench
