// The network of the simulation: streams between nodes in one process and one thread.
//
// Bytes arrive in order, in pieces of any size, some time after they were sent. A link between two nodes can
// be cut (silence: nothing arrives, nobody is told), reset (both ends are told) or damage what it carries.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "replication/base/clock.h"
#include "replication/base/random.h"
#include "replication/wire/transport.h"

namespace rillfs::simulation {

class Network {
 public:
  Network(const Clock& clock, Random& random) : clock_(clock), random_(random) {}

  /// What the node `name` uses; it is reached as `name:1`.
  std::unique_ptr<wire::Transport> transport(const std::string& name, wire::Executor executor);
  /// The node is dead: its peers are told, after a while.
  void disconnect(const std::string& name);
  /// Both ends of all connections between the two are told.
  void reset(const std::string& one, const std::string& other);
  void cut(const std::string& one, const std::string& other, bool is_cut);
  /// As of now, for every piece that is sent.
  void set_latency_max(Duration latency) { latency_max_ = latency; }
  /// One piece in so many has a wrong bit; 0: none.
  void damage_once_in(std::uint32_t pieces) { damage_once_in_ = pieces; }
  void heal();

 private:
  class End;
  class SimulatedListener;
  class SimulatedTransport;
  struct Connection;
  struct Pipe;

  static std::pair<std::string, std::string> link(const std::string& one, const std::string& other) {
    return one < other ? std::pair{one, other} : std::pair{other, one};
  }
  bool is_cut(const std::string& one, const std::string& other) const {
    return cut_.contains(link(one, other));
  }
  Monotonic arrival();
  void close(Connection& connection);

  const Clock& clock_;
  Random& random_;
  Duration latency_max_ = std::chrono::milliseconds(2);
  std::uint32_t damage_once_in_ = 0;
  std::set<std::pair<std::string, std::string>> cut_;
  std::map<std::string, SimulatedListener*> listeners_;
  std::vector<std::weak_ptr<Connection>> connections_;
};

}  // namespace rillfs::simulation
