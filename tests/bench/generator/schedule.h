// When operations are meant to start. With a rate the times are fixed beforehand, whatever the system under
// load does, and latency counts from them: an operation that waited for a slow one before it was slow itself.
// (Timing from the moment of sending leaves these out: "coordinated omission".) Without a rate the next one
// starts when the one before has ended. Threads: one.
#pragma once

#include <cstdint>

namespace rillfs::bench {

class Schedule {
 public:
  /// `rate`: operations a second of all workers together; 0 for as fast as they go. This is worker `worker`
  /// of `workers`; together they have the times begin_ns, begin_ns + 1/rate, ... in turns.
  Schedule(std::int64_t begin_ns, double rate, std::uint64_t worker, std::uint64_t workers)
      : begin_ns_(begin_ns), rate_(rate), next_(worker), workers_(workers) {}

  bool is_open() const { return rate_ > 0; }
  /// When the next operation is meant to start; `now_ns` without a rate. Goes on to the one after.
  std::int64_t next(std::int64_t now_ns);
  /// How many operations, from the next one on, are meant to start before `end_ns`; 0 without a rate.
  std::uint64_t left_before(std::int64_t end_ns) const;

 private:
  std::int64_t time_of(std::uint64_t number) const;

  const std::int64_t begin_ns_;
  const double rate_;
  std::uint64_t next_;
  const std::uint64_t workers_;
};

}  // namespace rillfs::bench
