#include "tests/bench/generator/database.h"

#include <strings.h>

namespace rillfs::bench {
namespace {

bool has_table(Connection& connection) {
  return Statement(connection, "SELECT count(*) FROM sqlite_schema WHERE name='bench'").run() != 0;
}

std::string text_of(Connection& connection, const std::string& sql) {
  std::string text;
  const auto take = [](void* to, int, char** values, char**) {
    *static_cast<std::string*>(to) = values[0] != nullptr ? values[0] : "";
    return 0;
  };
  if (sqlite3_exec(connection.get(), sql.c_str(), take, &text, nullptr) != SQLITE_OK) connection.fail(sql);
  return text;
}

void fill(Connection& connection, const Options& options) {
  Values values(options.value_bytes, options.seed);
  connection.run("BEGIN IMMEDIATE; CREATE TABLE bench(id INTEGER PRIMARY KEY, value BLOB)");
  Statement insert(connection, "INSERT INTO bench(value) VALUES(?)");
  for (std::int64_t i = 0; i < options.rows; ++i) insert.bind_blob(1, values.next(), values.size()).run();
  connection.run("COMMIT");
}

}  // namespace

std::int64_t prepare(const Options& options) {
  Connection connection(options.path());
  if (options.writes()) {
    const std::string mode = text_of(connection, "PRAGMA journal_mode=" + options.journal_mode);
    if (::strcasecmp(mode.c_str(), options.journal_mode.c_str()) != 0)
      connection.fail("the journal mode stays " + mode);
  }
  if (!has_table(connection)) fill(connection, options);
  return Statement(connection, "SELECT coalesce(max(id), 1) FROM bench").run();
}

Values::Values(std::int64_t size, std::uint64_t seed)
    : size_(size),
      random_(static_cast<unsigned>(seed)),
      bytes_(static_cast<std::size_t>(size) + kPieces, '\0') {
  std::mt19937_64 random(seed);
  for (char& byte : bytes_) byte = static_cast<char>(random());
}

Application::Application(const Options& options, std::int64_t rows, std::uint64_t seed)
    : options_(options),
      rows_(static_cast<std::uint64_t>(rows)),
      random_(seed),
      values_(options.value_bytes, seed),
      connection_(options.path()) {
  connection_.run("PRAGMA synchronous=" + options.synchronous +
                  "; PRAGMA wal_autocheckpoint=" + std::to_string(options.checkpoint_pages) +
                  "; PRAGMA busy_timeout=" + std::to_string(options.busy_timeout_ms));
  const auto prepared = [&](const char* sql) { return std::make_unique<Statement>(connection_, sql); };
  read_ = prepared("SELECT value FROM bench WHERE id=?");
  scan_ = prepared("SELECT sum(length(value)) FROM bench");
  if (!options.writes()) return;
  write_ = prepared(options.write == "insert" ? "INSERT INTO bench(value) VALUES(?)"
                                              : "UPDATE bench SET value=? WHERE id=?");
  begin_ = prepared("BEGIN IMMEDIATE");
  commit_ = prepared("COMMIT");
}

Kind Application::choose() {
  const auto percent = static_cast<unsigned>(random_() % 100);
  if (percent < options_.reads_percent) return Kind::kRead;
  return percent < options_.reads_percent + options_.scans_percent ? Kind::kScan : Kind::kWrite;
}

std::uint64_t Application::perform(Kind kind) {
  std::uint64_t repeated = 0;
  while (!try_once(kind)) ++repeated;
  return repeated;
}

bool Application::try_once(Kind kind) {
  switch (kind) {
    case Kind::kRead:
      return read_->bind(1, any_row()).try_run();
    case Kind::kScan:
      return scan_->try_run();
    case Kind::kWrite:
      return try_write();
  }
  return true;
}

bool Application::write_row() {
  write_->bind_blob(1, values_.next(), values_.size());
  if (options_.write == "update") write_->bind(2, any_row());
  return write_->try_run();
}

bool Application::try_write() {
  if (options_.transaction_rows == 1) return write_row();
  if (!begin_->try_run()) return false;
  bool done = true;
  for (std::int64_t i = 0; done && i < options_.transaction_rows; ++i) done = write_row();
  done = done && commit_->try_run();
  if (!done) connection_.run("ROLLBACK");
  return done;
}

}  // namespace rillfs::bench
