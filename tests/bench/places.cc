// One load on several places (native file system, pass-through, mount, replica), in turns: every round visits
// every place, each round begins with another one, so that what else the machine does hits all alike.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "tests/bench/connection.h"
#include "tests/bench/measurements.h"

namespace rillfs::bench {
namespace {

/// A load: what to say to a fresh connection, and one operation by its number.
struct Load {
  std::string pragmas;
  std::string create;
  const char* sql;
  std::function<void(Statement&, std::int64_t i, std::int64_t rows)> operate;
  bool of_filled = false;  // of table t, which `fill` has made
};

/// Spread over the whole table, the same sequence everywhere.
std::int64_t scattered(std::int64_t i, std::int64_t rows) {
  return static_cast<std::int64_t>((static_cast<std::uint64_t>(i) * 0x9E3779B97F4A7C15U >> 20) %
                                   static_cast<std::uint64_t>(rows)) +
         1;
}

Load load_of(const std::string& name) {
  static const std::string kRow(100, 'r');
  const std::string into = "CREATE TABLE IF NOT EXISTS log(id INTEGER PRIMARY KEY, value TEXT)";
  const auto insert = [](Statement& statement, std::int64_t, std::int64_t) { statement.bind(1, kRow).run(); };
  const char* insertion = "INSERT INTO log(value) VALUES(?)";
  if (name == "select")
    return {"", "", "SELECT id, value FROM t WHERE id=?",
            [](Statement& statement, std::int64_t i, std::int64_t rows) {
              statement.bind(1, scattered(i, rows)).run();
            },
            true};
  if (name == "scan")
    return {"", "", "SELECT sum(length(value)) FROM t",
            [](Statement& statement, std::int64_t, std::int64_t) { statement.run(); }, true};
  if (name == "update" || name == "update-no-checkpoint")
    return {"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=" +
                std::string(name == "update" ? "1000" : "0"),
            "", "UPDATE t SET value=printf('%0*d', length(value), ?) WHERE id=?",
            [](Statement& statement, std::int64_t i, std::int64_t rows) {
              statement.bind(1, i).bind(2, scattered(i, rows)).run();
            },
            true};
  if (name == "insert-wal-normal")
    return {"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL", into, insertion, insert};
  if (name == "insert-wal-full")
    return {"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL", into, insertion, insert};
  if (name == "insert-delete-full")
    return {"PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL", into, insertion, insert};
  give_up("no such load: " + name);
}

/// One place with its connection; rounds add up in `us`.
struct Place {
  Place(std::string place_name, const std::string& path, const Load& load)
      : name(std::move(place_name)), connection(path) {
    connection.run(load.pragmas);
    if (!load.create.empty()) connection.run(load.create);
    statement = std::make_unique<Statement>(connection, load.sql);
    if (load.of_filled) rows = Statement(connection, "SELECT max(id) FROM t").run();
  }
  std::string name;
  Connection connection;
  std::unique_ptr<Statement> statement;
  std::int64_t rows = 0;
  std::int64_t next = 0;
  std::vector<double> us;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// Microseconds an operation.
double round_of(Place& place, const Load& load, std::int64_t operations) {
  const std::int64_t begin = now_ns();
  for (std::int64_t i = 0; i < operations; ++i) load.operate(*place.statement, place.next++, place.rows);
  return static_cast<double>(now_ns() - begin) / 1000.0 / static_cast<double>(operations);
}

}  // namespace

int fill(const Words& words) {
  Connection connection(words[0]);
  connection.run("PRAGMA journal_mode=" + words[1]);
  connection.run("CREATE TABLE t(id INTEGER PRIMARY KEY, value TEXT)");
  Statement insert(connection, "INSERT INTO t(value) VALUES(printf('%0*d', ?, ?))");
  const std::int64_t rows = std::stoll(words[2]);
  const std::int64_t width = words.size() > 3 ? std::stoll(words[3]) : 110;
  for (std::int64_t i = 0; i < rows;) {
    connection.run("BEGIN");
    for (std::int64_t end = std::min(rows, i + 10'000); i < end; ++i) insert.bind(1, width).bind(2, i).run();
    connection.run("COMMIT");
  }
  connection.run("PRAGMA wal_checkpoint(TRUNCATE)");
  return 0;
}

int compare(const Words& words) {
  const Load load = load_of(words[0]);
  const int rounds = std::stoi(words[1]);
  const std::int64_t operations = std::stoll(words[2]);
  std::vector<std::unique_ptr<Place>> places;
  for (std::size_t i = 3; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string::npos) give_up("NAME=PATH, not " + words[i]);
    places.push_back(std::make_unique<Place>(words[i].substr(0, equals), words[i].substr(equals + 1), load));
  }
  for (auto& place : places) round_of(*place, load, operations);  // warms every cache
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < places.size(); ++i) {
      Place& place = *places[(i + static_cast<std::size_t>(round)) % places.size()];
      place.us.push_back(round_of(place, load, operations));
    }
  }
  nlohmann::json result{{"load", words[0]}, {"rounds", rounds}, {"operations", operations}};
  for (const auto& place : places) {
    // The ratio of neighbours in time, and the median of those.
    std::vector<double> ratios;
    for (int round = 0; round < rounds; ++round) {
      const auto r = static_cast<std::size_t>(round);
      ratios.push_back(places.front()->us[r] / place->us[r]);
    }
    result["places"][place->name] = {
        {"us", median(place->us)}, {"of_first", median(ratios)}, {"rounds_us", place->us}};
  }
  std::cout << result << "\n";
  return 0;
}

}  // namespace rillfs::bench
