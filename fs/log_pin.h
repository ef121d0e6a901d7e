// Keeps a part of a database's log from being let go of.
#pragma once

#include <optional>

#include "fs/database.h"

namespace rillfs {

/// The log after `txid` stays as long as this is there, which the database outlives. Threads: one at a time.
class LogPin {
 public:
  LogPin(Database& database, Txid txid) : database_(database) { move_to(txid); }
  ~LogPin() { database_.pin_log(this, std::nullopt); }
  LogPin(const LogPin&) = delete;
  LogPin& operator=(const LogPin&) = delete;
  void move_to(Txid txid) { database_.pin_log(this, txid); }

 private:
  Database& database_;
};

}  // namespace rillfs
