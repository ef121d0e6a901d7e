#include "tests/bench/generator/options.h"

#include <CLI/CLI.hpp>

namespace rillfs::bench {
namespace {

const char* kAbout =
    R"(Puts load on a SQLite database in DIRECTORY, which may be any: a disk, a RillFS mount, a replica's mount
(then with --reads 100, the rows being there already), another file system. Says how many transactions a
second were made and how long they took.

Every worker (processes x threads) has a connection of its own. Each transaction is a point SELECT, a scan of
the whole table, or a write of --transaction rows, by the percentages. Values are random bytes, so that
nothing compresses.

With --rate the transactions have times at which they are meant to start, and LATENCY counts from those: what
had to wait for a slow transaction before it was slow itself. SERVICE is the time that a transaction itself
took. Without --rate a worker starts the next one when the last has ended, and both are the same.

The database is created and filled when it has no table `bench`; it is left there, and a later run uses it.
)";

const char* kExamples = R"(Examples:
  rillfs-bench /mnt/db                                     single-row INSERTs, one writer, as fast as they go
  rillfs-bench /mnt/db --rate 500 --duration 60            500 commits a second for a minute
  rillfs-bench /mnt/db --processes 8 --synchronous FULL    8 writers, each commit synced
  rillfs-bench /mnt/db --reads 95 --threads 4 --write update
  rillfs-bench /replica/db --reads 100 --processes 8       readers only
)";

void add_load(CLI::App& app, Options& out) {
  app.add_option("--processes", out.processes, "Processes")->check(CLI::Range(1, 256))->capture_default_str();
  app.add_option("--threads", out.threads, "Threads of each")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--reads", out.reads_percent, "Point SELECTs, percent of transactions")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--scans", out.scans_percent, "Scans of the table, percent of transactions")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  app.add_option("--write", out.write, "What writes do: insert at the end, or update random rows")
      ->check(CLI::IsMember({"insert", "update"}))
      ->capture_default_str();
  app.add_option("--transaction", out.transaction_rows, "Rows that a write transaction writes")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  app.add_option("--value-size", out.value_bytes, "Bytes of a value")
      ->check(CLI::Range(0, 100'000'000))
      ->capture_default_str();
  app.add_option("--rate", out.rate, "Transactions a second of all workers together; 0: as fast as they go")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_database(CLI::App& app, Options& out) {
  app.add_option("--database", out.database, "Its name in the directory")->capture_default_str();
  app.add_option("--rows", out.rows, "Rows that a new database begins with")
      ->check(CLI::Range(1, 2'000'000'000))
      ->capture_default_str();
  app.add_option("--journal-mode", out.journal_mode, "As in PRAGMA journal_mode")
      ->check(CLI::IsMember({"WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY", "OFF"}, CLI::ignore_case))
      ->capture_default_str();
  app.add_option("--synchronous", out.synchronous, "As in PRAGMA synchronous")
      ->check(CLI::IsMember({"OFF", "NORMAL", "FULL", "EXTRA"}, CLI::ignore_case))
      ->capture_default_str();
  app.add_option("--checkpoint", out.checkpoint_pages, "As in PRAGMA wal_autocheckpoint; 0: never")
      ->capture_default_str();
  app.add_option("--busy-timeout", out.busy_timeout_ms, "Milliseconds to wait for locks")
      ->capture_default_str();
}

void add_run(CLI::App& app, Options& out) {
  app.add_option("--duration", out.duration_s, "Seconds to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--warm-up", out.warm_up_s, "Seconds before that, not measured")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--transactions", out.transactions,
                 "End after so many, all workers together, if that is earlier; without warm-up")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seed", out.seed, "Of random rows and values")->capture_default_str();
  app.add_flag("--json", out.json, "For programs");
  app.add_flag("--buckets", out.buckets, "With the whole histograms in the JSON");
}

}  // namespace

Parsed parse(int argc, char** argv) {
  Parsed parsed;
  Options& out = parsed.options;
  CLI::App app(kAbout, "rillfs-bench");
  app.footer(kExamples);
  app.add_option("DIRECTORY", out.directory, "Where the database is")
      ->required()
      ->check(CLI::ExistingDirectory);
  add_load(app, out);
  add_database(app, out);
  add_run(app, out);
  try {
    app.parse(argc, argv);
    if (out.reads_percent + out.scans_percent > 100)
      throw CLI::ValidationError("--reads and --scans are more than 100 percent");
    if (out.transactions > 0) out.warm_up_s = 0;
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error);
  }
  return parsed;
}

}  // namespace rillfs::bench
