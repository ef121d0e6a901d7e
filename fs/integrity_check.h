// Reads a database's whole committed content and compares it, page by page, with the checksums of what was
// committed, and those with the position's.
//
// Commits go on: a page is compared with what is committed at that moment, under the database's lock for the
// time of one read. So every page that stays is looked at, and every one that changes is looked at in some
// version.
#pragma once

#include <functional>
#include <vector>

#include "fs/database.h"

namespace rillfs {

struct CheckReport {
  std::string name;
  Position position;          ///< at the end
  std::uint64_t size = 0;     ///< bytes
  std::uint64_t pages = 0;    ///< that were compared
  std::uint64_t unknown = 0;  ///< that could not be: on a replica, those that are only in its WAL yet
  std::uint64_t damaged = 0;
  std::vector<Pgno> damaged_pages;  ///< the first few
  bool complete = false;
  std::string problem;  ///< what, where and what to do; empty: it is whole as far as it was looked at
};

/// Called about once a megabyte with the bytes since the last call: waits as long as it likes. False: give
/// up.
using CheckPace = std::function<bool(std::uint64_t bytes, std::uint64_t done, std::uint64_t total)>;

/// Blocks; on a thread of descriptor table 0. What it finds is reported where the database reports damage,
/// and recorded with it if it got to the end.
CheckReport check_database(Database& database, Clock& clock, const CheckPace& pace);

}  // namespace rillfs
