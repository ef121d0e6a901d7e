// The daemon's side of `rillfs verify`: checks that run while a command asks how far they are.
//
//   {"command":"verify","names_hex":[...],"rate":BYTES}   -> {"job":1}            no names: every database
//   {"command":"verify progress","job":1}
//     -> {"done":BYTES,"total":BYTES,"finished":false}
//     -> {"done":...,"total":...,"finished":true,"databases":[{"name":..., "ok":true, ...}]}
//
// One runs at a time; others wait for their turn. Without a rate it reads several databases at once: one
// reader waits for the disk and computes in turns. A job that nobody asks about for ten seconds ends: whoever
// wanted it is gone.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "fs/databases.h"
#include "fs/integrity_check.h"
#include "replication/base/mutex.h"

namespace rillfs::cmd {

/// Threads: any of descriptor table 0; stop from the owner's.
class VerifyJobs {
 public:
  VerifyJobs(Databases& databases, Clock& clock) : databases_(databases), clock_(clock) {}
  ~VerifyJobs();
  nlohmann::json begin(const nlohmann::json& request);
  nlohmann::json progress(const nlohmann::json& request);
  /// When it returns nothing of this runs.
  void stop();

 private:
  struct Job;
  void work(Job& job);
  /// Takes one database after the other, beside others that do the same.
  void read_databases(Job& job);
  bool wanted(const Job& job) const;
  /// Null if there is no such job, or nobody has asked about it for long.
  std::shared_ptr<Job> find(std::uint64_t number) const;
  void forget_old();

  Databases& databases_;
  Clock& clock_;
  Mutex turn_;  ///< held while a job reads

  mutable Mutex mutex_ RILL_ACQUIRED_AFTER(turn_);
  std::unordered_map<std::uint64_t, std::shared_ptr<Job>> jobs_ RILL_GUARDED_BY(mutex_);
  std::uint64_t next_ RILL_GUARDED_BY(mutex_) = 1;
  bool stopping_ RILL_GUARDED_BY(mutex_) = false;
};

}  // namespace rillfs::cmd
