// The database that load is put on: table `bench` with random values.
#pragma once

#include <memory>
#include <random>
#include <string>

#include "tests/bench/connection.h"
#include "tests/bench/generator/options.h"
#include "tests/bench/generator/results.h"

namespace rillfs::bench {

/// Makes the table unless it is there, and sets the journal mode unless nothing will be written. Returns how
/// many rows there are.
std::int64_t prepare(const Options& options);

/// Random bytes of one size, a different piece each time, without making them anew. Threads: one.
class Values {
 public:
  Values(std::int64_t size, std::uint64_t seed);
  const char* next() { return bytes_.data() + random_() % kPieces; }
  std::int64_t size() const { return size_; }

 private:
  static constexpr std::size_t kPieces = 4096;
  std::int64_t size_;
  std::minstd_rand random_;
  std::string bytes_;
};

/// One connection and what it does. Threads: one.
class Application {
 public:
  Application(const Options& options, std::int64_t rows, std::uint64_t seed);
  Kind choose();
  /// Returns how often it had to be repeated because the database was locked.
  std::uint64_t perform(Kind kind);

 private:
  bool try_once(Kind kind);
  bool try_write();
  bool write_row();
  std::int64_t any_row() { return 1 + static_cast<std::int64_t>(random_() % rows_); }

  const Options& options_;
  const std::uint64_t rows_;
  std::mt19937_64 random_;
  Values values_;
  Connection connection_;
  std::unique_ptr<Statement> read_;
  std::unique_ptr<Statement> scan_;
  std::unique_ptr<Statement> write_;
  std::unique_ptr<Statement> begin_;
  std::unique_ptr<Statement> commit_;
};

}  // namespace rillfs::bench
