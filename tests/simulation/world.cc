#include "simulation/world.h"

#include <atomic>
#include <cstdio>
#include <thread>

#include "replication/wire/simulated_time.h"

namespace rillfs::simulation {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// What a kill takes away.
struct World::Process {
  using Context = boost::asio::io_context;
  Context network{1};
  Context workers{1};
  boost::asio::executor_work_guard<Context::executor_type> network_work{network.get_executor()};
  boost::asio::executor_work_guard<Context::executor_type> workers_work{workers.get_executor()};
  wire::SimulatedTime& time{boost::asio::use_service<wire::SimulatedTime>(network)};
  std::unique_ptr<wire::Transport> transport;
  std::unique_ptr<Node> node;
  std::unique_ptr<Store> store;
  std::unique_ptr<stream::Publisher> publisher;
  std::unique_ptr<stream::Subscriber> subscriber;
};

/// What stays.
struct World::Machine {
  Machine(std::string its_name, std::uint64_t seed) : name(std::move(its_name)), random(seed), disk(random) {}
  bool up() const { return process != nullptr; }
  bool leads() const { return up() && process->publisher != nullptr; }
  Store& store() const { return *process->store; }

  const std::string name;
  SeededRandom random;
  Disk disk;
  Kept kept;
  bool is_member = false;  ///< of the cluster: a node that never was would found another one
  std::unique_ptr<Process> process;
};

World::World(const Options& options)
    : options_(options), random_(options.seed), mix_(draw_mix()), network_(time_, random_) {
  network_.set_latency_max(milliseconds(mix_.latency_ms));
  const std::size_t count = 2 + dice(3);
  for (std::size_t i = 0; i < count; ++i) {
    machines_.push_back(std::make_unique<Machine>("node" + std::to_string(i), random_.next()));
    if (options_.planted.lying_disk) machines_.back()->disk.lie_about(".seg");
    if (mix_.no_room) machines_.back()->disk.no_room_once_in(200);
  }
  for (const auto& machine : machines_) start(*machine);
}

World::~World() {
  for (const auto& machine : machines_)
    if (machine->up()) end(*machine);
}

World::Mix World::draw_mix() {
  auto often = [&](std::uint32_t most) { return dice(2) == 0 ? 0 : static_cast<std::uint32_t>(dice(most)); };
  Mix mix{};
  mix.kill = often(60);
  mix.power_cut = often(60);
  mix.stop = often(30);
  mix.cut = often(80);
  mix.reset = often(80);
  mix.damage = often(60);
  mix.change_of_primary = often(20);
  mix.drop = often(15);
  mix.rename = often(30);
  mix.advance = often(300);
  mix.resync = often(15);
  mix.clock = often(30);
  mix.two_primaries = often(400);
  mix.no_room = dice(6) == 0;
  mix.latency_ms = dice(3) == 0 ? dice(400) : dice(5);
  mix.burst_max = dice(3) == 0 ? 120 : 8;
  return mix;
}

void World::say(const std::string& what) {
  for (const char c : what) outcome_.trace = (outcome_.trace ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  if (options_.says_all)
    std::printf("%9.3f  %s\n", std::chrono::duration<double>(time_.now.time_since_epoch()).count(),
                what.c_str());
}

// --- time
// ----------------------------------------------------------------------------------------------------

/// One thing that can be done now, in any order that two threads a node could have. False: all wait.
bool World::run_ready() {
  std::vector<boost::asio::io_context*> contexts;
  for (const auto& machine : machines_) {
    if (!machine->up()) continue;
    contexts.push_back(&machine->process->network);
    contexts.push_back(&machine->process->workers);
  }
  if (contexts.empty()) return false;
  const std::size_t first = dice(contexts.size());
  for (std::size_t i = 0; i < contexts.size(); ++i)
    if (contexts[(first + i) % contexts.size()]->poll_one() != 0) return true;
  return false;
}

void World::advance_to(Monotonic limit) {
  Monotonic next = limit;
  for (const auto& machine : machines_)
    if (machine->up())
      if (const auto due = machine->process->time.next()) next = std::min(next, *due);
  time_.now = std::max(time_.now, next);
  for (const auto& machine : machines_)
    if (machine->up()) machine->process->time.advance(time_.now);
}

void World::run_for(Duration duration) {
  const Monotonic limit = time_.now + duration;
  for (;;) {
    while (run_ready()) {
    }
    if (time_.now >= limit) return;
    advance_to(limit);
  }
}

// --- nodes
// ----------------------------------------------------------------------------------------------------

World::Machine& World::any() { return *machines_[dice(machines_.size())]; }

void World::start(Machine& machine) {
  say("start " + machine.name + (&machine == &primary() ? ", primary" : ""));
  machine.process = std::make_unique<Process>();
  const auto begun = begin(machine);
  if (begun) return;
  if (!mix_.no_room || begun.error().code != ErrorCode::kNoSpace)
    throw Violation(machine.name + " does not come up: " + begun.error().message);
  say(machine.name + " has no room");
  end(machine);
}

Result<void> World::begin(Machine& machine) {
  const bool is_primary = &machine == &primary();
  Process& process = *machine.process;
  process.time.advance(time_.now);
  const wire::Executor network = process.network.get_executor();
  const wire::Executor workers = process.workers.get_executor();
  process.transport = network_.transport(machine.name, network);
  RILL_TRY(machine.disk.make_directories("/data", "simulation"));
  RILL_ASSIGN(process.node, Node::open(machine.disk, "/data", machine.random));
  RILL_TRY(is_primary ? process.node->become_primary(machine.random) : process.node->become_replica());
  process.store = std::make_unique<Store>(
      Store::Tools{machine.disk, time_, machine.random, oracle_, machine.kept, options_.planted},
      machine.name);
  RILL_TRY(process.store->open());
  if (is_primary) {
    check_promises(machine);
    stream::PublisherOptions options;
    options.listen = {machine.name, "1"};
    process.publisher = std::make_unique<stream::Publisher>(*process.node, *process.store, *process.transport,
                                                            time_, network, workers, options);
    RILL_TRY(process.publisher->start());
  } else {
    stream::SubscriberOptions options;
    options.primary = {primary().name, "1"};
    options.image_memory_max = 4 << 10;
    options.unprocessed_size_max = 256 << 10;
    process.subscriber =
        std::make_unique<stream::Subscriber>(*process.node, *process.store, *process.transport, machine.disk,
                                             time_, machine.random, network, workers, options);
    process.subscriber->start();
  }
  return {};
}

/// What was promised while this node was primary last is here.
void World::check_promises(const Machine& machine) {
  for (const auto& [id, promised] : machine.kept.promised) {
    if (oracle_.was_dropped(id)) continue;
    const Position here = machine.store().position(id);
    if (!oracle_.leads_to(id, promised, here))
      throw Violation(machine.name + ": " + to_hex(id.value) + " was promised to be at " + to_text(promised) +
                      " and is at " + to_text(here));
  }
}

void World::end(Machine& machine) {
  Process& process = *machine.process;
  if (process.publisher) finish(machine, [&] { process.publisher->stop(); });
  if (process.subscriber) finish(machine, [&] { process.subscriber->stop(); });
  process.publisher.reset();
  process.subscriber.reset();
  process.store.reset();
  process.node.reset();
  machine.process.reset();
}

/// `stop` waits for what this thread runs. All that the node could do has been done before, and only what
/// follows from the stop is done meanwhile, so that it does not matter when the other thread comes to it.
void World::finish(Machine& machine, const std::function<void()>& stop) {
  auto run_all = [&] { return machine.process->network.poll() + machine.process->workers.poll() != 0; };
  while (run_all()) {
  }
  std::atomic<bool> done{false};
  std::thread waits([&] {
    stop();
    done = true;
  });
  const auto limit = std::chrono::steady_clock::now() + seconds(60);
  while (!done) {
    if (!run_all()) std::this_thread::yield();
    if (std::chrono::steady_clock::now() > limit) {
      std::fprintf(stderr, "seed %llu: %s does not stop\n", static_cast<unsigned long long>(options_.seed),
                   machine.name.c_str());
      std::abort();  // the thread cannot be ended
    }
  }
  waits.join();
}

void World::bring_down(Machine& machine, Way way) {
  static constexpr const char* kWays[] = {"stop ", "kill ", "cut the power of "};
  say(kWays[static_cast<int>(way)] + machine.name);
  if (way != Way::kStop) {
    ++outcome_.crashes;
    machine.disk.stop();
    network_.disconnect(machine.name);
  }
  end(machine);
  machine.disk.start(way == Way::kPowerCut);
}

/// As an operator does it: the old primary is down, or is stopped, or goes on for a while because somebody
/// has forgotten it; then another node becomes primary, and the others are told.
void World::change_primary(std::size_t next) {
  Machine* const forgotten = happens(mix_.two_primaries) && next != primary_ ? &primary() : nullptr;
  for (const auto& machine : machines_)
    if (machine->up() && machine.get() != forgotten)
      bring_down(*machine, machine.get() == &primary() && dice(2) == 0 ? Way::kKill : Way::kStop);
  primary_ = next;
  say("primary is " + primary().name);
  primary().kept.promised.clear();
  for (const auto& machine : machines_)
    if (!machine->up() && (machine.get() == &primary() || dice(4) != 0)) start(*machine);
}

// --- one step
// ----------------------------------------------------------------------------------------------------

void World::refused(const char* what, const Error& error) const {
  if (mix_.no_room && error.code == ErrorCode::kNoSpace) return;
  throw Violation(std::string(what) + " was refused: " + error.message);
}

void World::write() {
  Machine& machine = dice(4) == 0 ? any() : primary();
  if (!machine.leads()) return;
  Store& store = machine.store();
  auto ids = store.ids();
  if (ids.empty() || (ids.size() < 5 && dice(20) == 0)) {
    auto made = store.create("db" + std::to_string(++names_));
    if (!made) return refused("create", made.error());
    ids = store.ids();
  }
  const DatabaseId id = ids[dice(ids.size())];
  if (happens(mix_.drop)) {
    if (auto dropped = store.drop_here(id); !dropped) refused("drop", dropped.error());
    return;
  }
  if (happens(mix_.rename)) {
    if (auto renamed = store.rename(id, "renamed" + std::to_string(++names_)); !renamed)
      refused("rename", renamed.error());
  }
  const Epoch epoch = machine.process->node->membership().epoch;
  for (std::uint64_t n = 1 + dice(mix_.burst_max); n > 0; --n) {
    if (auto committed = store.commit(id, epoch, dice(3) == 0); !committed) {
      refused("commit", committed.error());
    } else {
      ++outcome_.commits;
    }
  }
}

void World::work_in_background() {
  Machine& machine = any();
  if (!machine.up()) return;
  const auto ids = machine.store().ids();
  if (ids.empty()) return;
  const DatabaseId id = ids[dice(ids.size())];
  if (happens(mix_.advance))
    if (auto advanced = machine.store().advance_base(id); !advanced) refused("base", advanced.error());
  if (happens(mix_.resync) && machine.process->subscriber) machine.process->subscriber->resync(id);
}

void World::disturb_nodes() {
  Machine& machine = any();
  if (!machine.up()) {
    if (dice(4) == 0) start(machine);
  } else if (happens(mix_.kill)) {
    bring_down(machine, Way::kKill);
  } else if (happens(mix_.power_cut)) {
    bring_down(machine, Way::kPowerCut);
  } else if (happens(mix_.stop)) {
    bring_down(machine, Way::kStop);
  }
  if (happens(mix_.change_of_primary)) {
    const std::size_t next = dice(machines_.size());
    if (machines_[next]->is_member) change_primary(next);
  }
}

void World::disturb_network() {
  const std::string& one = any().name;
  const std::string& other = any().name;
  if (one == other) return;
  if (happens(mix_.cut)) network_.cut(one, other, true);
  if (dice(10) == 0) network_.cut(one, other, false);
  if (happens(mix_.reset)) network_.reset(one, other);
  if (happens(mix_.damage)) network_.damage_once_in(20 + static_cast<std::uint32_t>(dice(200)));
  if (dice(10) == 0) network_.damage_once_in(0);
}

void World::step() {
  write();
  work_in_background();
  disturb_nodes();
  disturb_network();
  if (happens(mix_.clock)) time_.offset_ms += static_cast<std::int64_t>(dice(7'200'000)) - 3'600'000;
  run_for(dice(8) == 0 ? milliseconds(dice(8000)) : milliseconds(dice(100)));
  for (const auto& machine : machines_) {
    if (!machine->up()) continue;
    machine->store().check();
    machine->is_member = machine->process->node->membership().cluster != ClusterId{};
  }
}

// --- the end
// ----------------------------------------------------------------------------------------------------

void World::heal() {
  say("heal");
  network_.heal();
  for (const auto& machine : machines_) {
    machine->disk.no_room_once_in(0);
    if (machine->leads() && machine.get() != &primary()) bring_down(*machine, Way::kStop);
    if (!machine->up()) start(*machine);
  }
}

std::string World::differences() {
  std::string text;
  for (const auto& machine : machines_) {
    text += "\n  " + machine->name + ":";
    for (const DatabaseId id : machine->store().ids())
      text += " " + machine->store().info(id).path + "=" + to_text(machine->store().position(id));
    if (machine->process->subscriber) text += " (" + machine->process->subscriber->status().last_error + ")";
  }
  return text;
}

bool World::converged() {
  const auto wanted = primary().store().list();
  for (const auto& machine : machines_) {
    const auto there = machine->store().list();
    if (there.size() != wanted.size()) return false;
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (there[i].info != wanted[i].info || !there[i].position.same_place(wanted[i].position)) return false;
  }
  return true;
}

void World::check_everything() {
  for (const auto& machine : machines_) {
    machine->store().check();
    for (const auto& [id, promised] : machine->kept.promised) {
      bool kept = oracle_.was_dropped(id) || oracle_.leads_to(id, promised, primary().store().position(id));
      for (const auto& [parked, position] : machine->kept.parked)
        kept = kept || (parked == id && oracle_.leads_to(id, promised, position));
      if (!kept)
        throw Violation(machine->name + ": " + to_hex(id.value) + " was promised to be at " +
                        to_text(promised) + ", which is neither in the primary's history nor parked");
    }
  }
}

/// An operator who made the wrong node primary is told by those that have seen a newer epoch, and does what
/// they say.
void World::heed_epochs() {
  std::size_t newest = primary_;
  auto epoch = [&](std::size_t i) { return machines_[i]->process->node->membership().epoch; };
  for (std::size_t i = 0; i < machines_.size(); ++i)
    if (epoch(i) > epoch(newest)) newest = i;
  if (newest == primary_) return;
  change_primary(newest);
  heal();
}

Outcome World::run() {
  const Monotonic begun = time_.now;
  for (int i = 0; i < options_.steps; ++i) step();
  heal();
  constexpr Duration kPatience = seconds(120);
  for (const Monotonic limit = time_.now + kPatience; !converged();) {
    if (time_.now > limit) throw Violation("the nodes do not become the same:" + differences());
    run_for(milliseconds(200));
    heed_epochs();
  }
  check_everything();
  outcome_.lasted = time_.now - begun;
  say(differences());
  return outcome_;
}

}  // namespace rillfs::simulation
