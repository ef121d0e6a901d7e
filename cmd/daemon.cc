#include "cmd/daemon.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "fs/parking.h"
#include "fs/wal_mark.h"
#include "replication/base/signals.h"

namespace rillfs::cmd {
namespace {

constexpr std::size_t kStreamWorkers = 4;
constexpr int kMountThreads = 4;
/// How long a stop waits for applications to close their files.
constexpr std::chrono::seconds kUnmountWait{5};

/// Every file that the kernel knows costs a descriptor, and every database a few more.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

stream::DatabaseProgress const* find_progress(const std::vector<stream::DatabaseProgress>& all,
                                              DatabaseId id) {
  auto it = std::find_if(all.begin(), all.end(), [&](const auto& progress) { return progress.id == id; });
  return it == all.end() ? nullptr : &*it;
}

std::optional<SnapshotProgress> snapshot_of(const stream::DatabaseProgress& progress,
                                            std::uint64_t page_size) {
  if (!progress.snapshot.active) return std::nullopt;
  return SnapshotProgress{progress.snapshot.pages_done * page_size, progress.snapshot.pages_total * page_size,
                          progress.snapshot.bytes_per_second};
}

void add_health(DatabaseStatus& entry, const Database::Health& health) {
  if (!health.problem.empty()) entry.problem = health.problem;
  entry.damaged = health.damaged_ever;
  const Database::LastCheck& last = health.last_check;
  if (last.at_ms != 0) entry.check = CheckStatus{last.at_ms, last.pages, last.unknown, last.damaged};
}

std::vector<std::string> parked_names(FileSystem& files, const std::string& directory) {
  std::vector<std::string> names;
  auto entries = files.list(directory, "status: parked");
  if (!entries) return names;
  for (const DirectoryEntry& entry : *entries)
    if (entry.is_directory && !entry.name.ends_with(".tmp")) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  return names;
}

wire::SessionOptions session_options(const Config& config) {
  wire::SessionOptions options;
  options.heartbeat_interval = config.heartbeat;
  options.peer_timeout = config.peer_timeout;
  return options;
}

}  // namespace

Daemon::Daemon(const Config& config, DataLock lock)
    : config_(config),
      lock_(std::move(lock)),
      started_ms_(clock_.wall_ms()),
      environment_{files_, clock_, random_, config.data},
      keep_network_(boost::asio::make_work_guard(network_)),
      workers_(kStreamWorkers),
      transport_(network_.get_executor()) {
  environment_.primary = !config.primary;
  environment_.boot_id = current_boot_id();
  environment_.log_options.segment_size_max = config.segment_size;
  environment_.log_options.retain_bytes = config.retention_bytes;
  environment_.log_options.retain_time_ms = config.retention_time.count();
}

Daemon::~Daemon() { stop(); }

Result<std::unique_ptr<Daemon>> Daemon::start(const Config& config) {
  ::umask(0);  // the kernel has applied the caller's
  raise_descriptor_limit();
  RILL_ASSIGN(DataLock lock, DataLock::take(config.data));
  std::unique_ptr<Daemon> daemon(new Daemon(config, std::move(lock)));
  RILL_TRY(daemon->load());
  RILL_TRY(daemon->mount());
  RILL_TRY(daemon->connect());
  daemon->look_after_content();
  RILL_TRY(daemon->serve_control());
  spdlog::info("{} is mounted, {}", config.mountpoint,
               config.primary ? "following " + to_text(*config.primary)
                              : "primary, replicas at " + to_text(config.advertise));
  return daemon;
}

Result<void> Daemon::load() {
  RILL_ASSIGN(node_, Node::open(files_, config_.data, random_));
  node_->on_newer_epoch([](Epoch seen, const PeerIdentity& by) {
    spdlog::error(
        "node {} at {} has seen epoch {}: somebody else has become primary. Two primaries make two "
        "histories; "
        "stop this one, or the other, and see docs/guarantees.md",
        to_hex(by.node.value), by.address, seen.value);
  });
  RILL_TRY(environment_.primary ? node_->become_primary(random_) : node_->become_replica());
  environment_.node = node_->id();
  environment_.epoch = node_->membership().epoch.value;
  NodeView view;
  view.candidate = config_.candidate;
  view.primary_address = [this] { return config_.primary ? to_text(*config_.primary) : std::string(); };
  view.lag_ms = [this] { return lag_ms(); };
  view.owner = config_.replica_uid;
  view.group = config_.replica_gid;
  view.mode = config_.replica_mode;
  databases_ = std::make_unique<Databases>(environment_, std::move(view));
  RILL_TRY(databases_->recover());
  return environment_.primary ? databases_->adopt_found() : Result<void>();
}

Result<void> Daemon::mount() {
  // Before the device is opened: it must not have it.
  RILL_ASSIGN(keeper_, mount::MemoryKeeper::start());
  // Likewise, so that these threads' descriptor table never has /dev/fuse in it.
  mount_threads_ = std::make_unique<apply::MountThreads>(kMountThreads);
  const std::string root = environment_.tree_directory();
  const int root_fd = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) return errno_error(errno, root);
  passthrough_ = std::make_unique<mount::Passthrough>();
  if (config_.capture == CaptureChoice::kHold) passthrough_->refuse("the configuration says hold");
  refuse_tail_without_fence();
  RILL_ASSIGN(tree_, mount::Tree::open(*databases_, *passthrough_, root_fd));
  requests_.reset(new mount::RequestContext{*tree_, *passthrough_, mount_threads_->ids()});
  if (::mkdir(config_.mountpoint.c_str(), 0755) == 0)
    spdlog::info("made the mount point {}", config_.mountpoint);
  mount::SessionOptions options;
  options.mountpoint = config_.mountpoint;
  options.allow_other = config_.allow_other;
  RILL_ASSIGN(session_, mount::Session::mount(options, *requests_));
  passthrough_->use_device(session_->device());
  MountWorkOptions work;
  work.mountpoint = config_.mountpoint;
  work.applier.candidate = config_.candidate && config_.primary;
  work.applier.wal_limit_bytes = config_.wal_limit;
  work_ = std::make_unique<MountWork>(*databases_, *mount_threads_, std::move(work));
  databases_->use(work_.get());
  session_->start();
  return require_capture();
}

void Daemon::refuse_tail_without_fence() {
  if (config_.capture == CaptureChoice::kHold || !environment_.primary) return;
  if (ends_writes(files_, environment_.spool_directory())) return;
  const std::string why =
      "the data directory's file system cannot close a file to a process that has it open (ext4 can, as "
      "root): an application that outlives this daemon could go on writing to a WAL that nobody reads";
  if (config_.capture == CaptureChoice::kAuto) return passthrough_->refuse(why);
  spdlog::warn(
      "capture: tail, although {}. After a crash of the daemon end such applications before it is "
      "started again",
      why);
}

Result<void> Daemon::require_capture() const {
  if (config_.capture != CaptureChoice::kTail || !environment_.primary) return {};
  passthrough_->wait_until_negotiated();
  if (passthrough_->possible()) return {};
  return make_error(ErrorCode::kUnsupported, "capture: tail is not possible: " + passthrough_->why_not() +
                                                 ". Say auto to have it where it is");
}

Result<void> Daemon::connect() {
  network_thread_ = std::thread([this] {
    block_signals();
    network_.run();
  });
  lease_ = std::make_unique<lease::StaticLease>(lease::Leader{
      environment_.primary, config_.primary ? to_text(*config_.primary) : to_text(config_.advertise),
      node_->membership().epoch, environment_.primary ? started_ms_ : 0});
  if (config_.primary) {
    stream::SubscriberOptions options;
    options.primary = {config_.primary->host, std::to_string(config_.primary->port)};
    options.advertise_address = to_text(config_.advertise);
    options.session = session_options(config_);
    subscriber_ =
        std::make_unique<stream::Subscriber>(*node_, *databases_, transport_, files_, clock_, random_,
                                             network_.get_executor(), workers_.get_executor(), options);
    subscriber_->start();
    return {};
  }
  stream::PublisherOptions options;
  options.listen = {config_.listen.host, std::to_string(config_.listen.port)};
  options.advertise_address = to_text(config_.advertise);
  options.session = session_options(config_);
  publisher_ = std::make_unique<stream::Publisher>(*node_, *databases_, transport_, clock_,
                                                   network_.get_executor(), workers_.get_executor(), options);
  auto started = publisher_->start();
  if (!started) {
    publisher_.reset();
    return std::move(started).error().with("listen on " + to_text(config_.listen));
  }
  return {};
}

void Daemon::look_after_content() {
  if (subscriber_) databases_->on_damage([this](DatabaseId id) { subscriber_->resync(id); });
  scrubber_ = std::make_unique<Scrubber>(*databases_, clock_,
                                         ScrubOptions{config_.scrub_interval, config_.scrub_rate});
  scrubber_->start();
  verify_ = std::make_unique<VerifyJobs>(*databases_, clock_);
}

Result<void> Daemon::serve_control() {
  control_ = std::make_unique<ControlServer>(network_, control_workers_.get_executor());
  control_->handle("status", [this](const nlohmann::json&) { return to_json(status()); });
  control_->handle("verify", [this](const nlohmann::json& request) { return verify_->begin(request); });
  control_->handle("verify progress",
                   [this](const nlohmann::json& request) { return verify_->progress(request); });
  return control_->start(config_.data);
}

void Daemon::when_ready(std::function<void()> ready) {
  if (subscriber_) {
    subscriber_->when_caught_up(std::move(ready));
  } else {
    ready();
  }
}

std::int64_t Daemon::lag_ms() const {
  if (!subscriber_) return 0;
  std::int64_t lag = 0;
  for (const auto& database : subscriber_->status().databases) lag = std::max(lag, database.lag_ms);
  return lag;
}

void Daemon::add_databases(NodeStatus& status) const {
  std::vector<stream::DatabaseProgress> progress;
  if (subscriber_) progress = subscriber_->status().databases;
  auto obstacles = work_->obstacles();
  for (const auto& database : databases_->all()) {
    const Database::Details details = database->details();
    const Position position = environment_.primary ? details.position : database->applied_position();
    DatabaseStatus entry;
    entry.name = database->path();
    entry.txid = position.txid;
    entry.checksum = position.checksum;
    entry.size = details.size;
    entry.log_bytes = details.log_bytes;
    entry.journal_mode = details.wal_mode ? "wal" : "rollback";
    if (details.wal_mode && details.source != Database::Source::kNone)
      entry.capture = details.source == Database::Source::kTail ? "tail" : "hold";
    entry.parked = count_parked(environment_.files, environment_.parked_directory(), database->id());
    entry.lag_ms = 0;
    if (auto it = obstacles.find(database->id().value); it != obstacles.end()) entry.problem = it->second;
    add_health(entry, database->health());
    if (!details.failure.empty()) entry.problem = details.failure;  // nothing else goes away before that
    if (const auto* behind = find_progress(progress, database->id())) {
      entry.lag_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(0, behind->lag_ms));
      entry.lag_txs = behind->lag_transactions;
      entry.snapshot = snapshot_of(*behind, details.page_size);
    }
    status.databases.push_back(std::move(entry));
  }
  for (const auto& one : databases_->out_of_service()) {
    DatabaseStatus entry;
    entry.name = one.path.empty() ? "(dbs/" + to_hex(one.id.value) + ")" : one.path;
    entry.problem = one.why;
    status.databases.push_back(std::move(entry));
  }
  // Databases whose first snapshot is on its way have no file yet.
  for (const auto& coming : progress) {
    if (databases_->find_by_id(coming.id) || !coming.snapshot.active) continue;
    DatabaseStatus entry;
    entry.name = coming.path;
    entry.snapshot = snapshot_of(coming, 4096);
    status.databases.push_back(std::move(entry));
  }
  std::sort(status.databases.begin(), status.databases.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
}

void Daemon::add_replicas(NodeStatus& status) const {
  if (!publisher_) return;
  for (const stream::ReplicaStatus& replica : publisher_->status()) {
    ReplicaStatus entry;
    entry.node = replica.node;
    entry.address = replica.address;
    entry.connected = replica.connected;
    entry.since_ms = replica.since_ms;
    entry.lag_ms = entry.lag_txs = entry.lag_bytes = 0;
    for (const auto& database : replica.databases) {
      entry.lag_ms = std::max<std::uint64_t>(
          *entry.lag_ms, static_cast<std::uint64_t>(std::max<std::int64_t>(0, database.lag_ms)));
      entry.lag_txs = *entry.lag_txs + database.lag_transactions;
      entry.lag_bytes = *entry.lag_bytes + database.lag_bytes;
      entry.positions.push_back({database.path, database.applied, {}});
      auto known = databases_->find_by_id(database.id);
      if (auto snapshot = snapshot_of(database, known ? known->page_size() : 0)) entry.snapshot = snapshot;
    }
    status.replicas.push_back(std::move(entry));
  }
}

NodeStatus Daemon::status() const {
  NodeStatus status;
  const Membership membership = node_->membership();
  const lease::Leader leader = lease_->leader();
  status.node = node_->id();
  status.role = environment_.primary ? Role::kPrimary : Role::kReplica;
  status.epoch = membership.epoch;
  status.cluster = membership.cluster;
  status.version = RILLFS_VERSION;
  status.now_ms = clock_.wall_ms();
  status.role_since_ms = started_ms_;
  status.primary = leader.address;
  status.primary_since_ms = leader.since_ms;
  status.connected = !subscriber_ || subscriber_->status().connected;
  status.advertise = to_text(config_.advertise);
  status.data = config_.data;
  status.mountpoint = config_.mountpoint;
  if (environment_.primary) {
    status.capture_why = passthrough_->why_not();
    status.capture = status.capture_why.empty() ? "tail" : "hold";
  }
  for (std::size_t i = 0; i < requests_->counts.size(); ++i) {
    const auto kind = static_cast<mount::RequestKind>(i);
    status.requests.emplace_back(mount::to_string(kind), requests_->counts[i].load());
  }
  const mount::Session::Polls polls = session_->polls();
  status.polls = {{"found", polls.found}, {"in_vain", polls.in_vain}, {"taken_away", polls.taken_away}};
  add_databases(status);
  add_replicas(status);
  status.parked = parked_names(environment_.files, environment_.parked_directory());
  return status;
}

void Daemon::unmount() {
  const auto deadline = clock_.monotonic() + kUnmountWait;
  for (;;) {
    auto unmounted = session_->try_unmount();
    if (unmounted) break;
    if (unmounted.error().code != ErrorCode::kBusy || clock_.monotonic() > deadline) {
      spdlog::warn("{}; unmounting it all the same", unmounted.error().message);
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  session_->stop();
}

void Daemon::stop() {
  if (std::exchange(stopped_, true)) return;
  if (control_) control_->stop();
  if (verify_) verify_->stop();
  if (scrubber_) scrubber_->stop();
  if (databases_) databases_->on_damage({});
  if (subscriber_) subscriber_->stop();
  if (publisher_) publisher_->stop();
  keep_network_.reset();
  network_.stop();
  if (network_thread_.joinable()) network_thread_.join();
  workers_.join();
  control_workers_.join();
  if (databases_) databases_->use(nullptr);
  if (work_) work_->stop();
  if (session_) unmount();
  if (mount_threads_) mount_threads_->stop();
  keeper_.reset();
  if (databases_) databases_->close();
}

}  // namespace rillfs::cmd
