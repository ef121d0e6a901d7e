// A cluster in one thread: real nodes, logs, publishers and subscribers on disks, a network and clocks that
// are made up.
//
// Everything that happens follows from the seed. First anything may fail; then all is healed, and the nodes
// must become the same. At every step whatever a node has must be what its position says, and what an
// application was told to be durable must be there, or parked.
//
// Not simulated: FUSE, SQLite, and how change sets get into a replica's files (fs/apply).
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>
#include <vector>

#include "replication/node.h"
#include "replication/stream/publisher.h"
#include "replication/stream/subscriber.h"
#include "simulation/disk.h"
#include "simulation/network.h"
#include "simulation/oracle.h"
#include "simulation/store.h"

namespace rillfs::simulation {

struct Options {
  std::uint64_t seed = 1;
  int steps = 200;
  bool says_all = false;  ///< each step, on standard output
  Planted planted;
};

struct Outcome {
  std::uint64_t trace = 0;  ///< the same for the same seed
  std::uint64_t commits = 0;
  std::uint64_t crashes = 0;  ///< kills and power cuts
  Duration lasted{};          ///< simulated
};

class World {
 public:
  explicit World(const Options& options);
  ~World();
  /// Throws a Violation.
  Outcome run();

 private:
  class Time final : public Clock {
   public:
    Monotonic monotonic() const override { return now; }
    std::int64_t wall_ms() const override {
      return offset_ms +
             std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count();
    }
    Monotonic now{std::chrono::hours(1)};
    std::int64_t offset_ms = 1'700'000'000'000;
  };
  struct Process;
  struct Machine;
  /// What this seed is about: how likely each thing is, in a thousand steps.
  struct Mix {
    std::uint32_t kill, power_cut, stop, cut, reset, damage, change_of_primary, drop, rename, advance, resync;
    std::uint32_t clock, two_primaries;  ///< the latter of changes of the primary
    bool no_room;
    std::uint64_t latency_ms;
    std::uint32_t burst_max;
  };

  std::uint64_t dice(std::uint64_t sides) { return random_.next() % sides; }
  bool happens(std::uint32_t in_thousand) { return dice(1000) < in_thousand; }
  Mix draw_mix();
  void say(const std::string& what);

  // --- time
  void run_for(Duration duration);
  bool run_ready();
  void advance_to(Monotonic limit);

  // --- nodes
  Machine& primary() { return *machines_[primary_]; }
  Machine& any();
  /// It stays down if there is no room for what it has to write.
  void start(Machine& machine);
  Result<void> begin(Machine& machine);
  void end(Machine& machine);
  void finish(Machine& machine, const std::function<void()>& stop);
  enum class Way { kStop, kKill, kPowerCut };
  void bring_down(Machine& machine, Way way);
  void change_primary(std::size_t next);
  void check_promises(const Machine& machine);

  // --- one step
  void step();
  void write();
  void work_in_background();
  void disturb_nodes();
  void disturb_network();
  void refused(const char* what, const Error& error) const;

  // --- the end
  void heal();
  void heed_epochs();
  bool converged();
  std::string differences();
  void check_everything();

  const Options options_;
  SeededRandom random_;
  const Mix mix_;
  Time time_;
  Oracle oracle_;
  Network network_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::size_t primary_ = 0;
  std::uint64_t names_ = 0;
  Outcome outcome_;
};

}  // namespace rillfs::simulation
