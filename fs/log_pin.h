// Keeps a part of a database's log from being let go of.
#pragma once

#include <optional>

#include "fs/database.h"

namespace rillfs {

/// The log after `txid` stays as long as this is there, which the database outlives, and as long as the log
/// is not more than `beyond_budget` bytes beyond its byte budget. Threads: one at a time.
class LogPin {
 public:
  LogPin(Database& database, Txid txid, std::uint64_t beyond_budget)
      : database_(database), beyond_budget_(beyond_budget) {
    move_to(txid);
  }
  ~LogPin() { database_.pin_log(this, std::nullopt); }
  LogPin(const LogPin&) = delete;
  LogPin& operator=(const LogPin&) = delete;
  void move_to(Txid txid) { database_.pin_log(this, log::Pin{txid, beyond_budget_}); }

 private:
  Database& database_;
  const std::uint64_t beyond_budget_;
};

}  // namespace rillfs
