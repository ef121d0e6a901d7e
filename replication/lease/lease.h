// Who may write. One interface for every engine; here the one that needs none: the configuration names the
// primary, and it stays primary.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "replication/base/types.h"

namespace rillfs::lease {

struct Leader {
  bool is_self = false;
  std::string address;        ///< HOST:PORT where replicas subscribe
  Epoch epoch;                ///< 0 on a replica that has not met its primary yet
  std::int64_t since_ms = 0;  ///< wall clock; 0 if not known
};

/// Threads: any.
class Lease {
 public:
  virtual ~Lease() = default;
  virtual Leader leader() const = 0;
};

/// The primary is the configured one for as long as the process runs.
class StaticLease final : public Lease {
 public:
  explicit StaticLease(Leader leader) : leader_(std::move(leader)) {}
  Leader leader() const override { return leader_; }

 private:
  const Leader leader_;
};

}  // namespace rillfs::lease
