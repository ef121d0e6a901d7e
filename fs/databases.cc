#include "fs/databases.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <future>

#include "fs/mount_work.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {

constexpr Duration kReconcileDelay = std::chrono::milliseconds(200);
constexpr Duration kCoolDelay = std::chrono::seconds(2);
constexpr std::size_t kWorkers = 4;

bool below(const std::string& path, const std::string& directory) {
  return path.starts_with(directory + "/");
}

}  // namespace

Databases::Databases(Environment& environment, NodeView node)
    : environment_(environment),
      node_(std::move(node)),
      dropped_(environment.files, environment.databases_directory() + "/dropped"),
      workers_(kWorkers),
      follower_(follower_help()) {
  environment_.backfilled = [this](DatabaseId id) { advance_base_soon(id); };
  environment_.published_index = [this](Database& database) { return published_index(database); };
  environment_.changed = [this](DatabaseId id) { notify(id); };
  environment_.damaged = [this](DatabaseId id) {
    Lock lock(listeners_mutex_);
    if (damaged_) damaged_(id);
  };
  environment_.registered = [this](const std::shared_ptr<Database>& database, DatabaseId id) {
    register_database(database, id);
  };
}

Databases::~Databases() {
  follower_.stop();
  delayed_.stop();
  workers_.join();
}

void Databases::notify(DatabaseId id) {
  Lock lock(listeners_mutex_);
  if (changed_) changed_(id);
}

void Databases::on_damage(std::function<void(DatabaseId)> ask) {
  {
    Lock lock(listeners_mutex_);
    damaged_ = ask;
  }
  if (!ask) return;
  for (const auto& database : all()) {
    if (database->health().out_of_service) environment_.damaged(database->id());
  }
}

void Databases::register_database(const std::shared_ptr<Database>& database, DatabaseId id) {
  Lock lock(mutex_);
  by_id_[id.value] = database;
}

std::shared_ptr<Database> Databases::own(std::unique_ptr<Database> database) {
  auto let_go = [this](Database* last) {
    // The mount's threads have a table of their own, and hold databases while they apply and remove them.
    if (descriptor_table() == 0) {
      delete last;
    } else {
      boost::asio::post(workers_, [last] { delete last; });
    }
  };
  return {database.release(), std::move(let_go)};
}

std::vector<std::shared_ptr<Database>> Databases::all() const {
  Lock lock(mutex_);
  std::vector<std::shared_ptr<Database>> all;
  all.reserve(by_id_.size());
  for (const auto& [id, database] : by_id_) all.push_back(database);
  return all;
}

// --- names
// ----------------------------------------------------------------------------------------------------

std::shared_ptr<Database> Databases::find(std::uint64_t parent_inode, const std::string& name) const {
  Lock lock(mutex_);
  auto it = by_place_.find({parent_inode, name});
  return it == by_place_.end() ? nullptr : it->second;
}

std::shared_ptr<Database> Databases::find_by_id(DatabaseId id) const {
  Lock lock(mutex_);
  auto it = by_id_.find(id.value);
  return it == by_id_.end() ? nullptr : it->second;
}

std::shared_ptr<Database> Databases::find_by_low_bits(std::uint64_t bits) const {
  auto found = find_by_id(DatabaseId{bits});
  return found ? found : find_by_id(DatabaseId{bits | std::uint64_t{1} << 63});
}

bool Databases::could_be_database(int parent_fd, const std::string& name) const {
  int fd = ::openat(parent_fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat status {};
  std::uint8_t start[16];
  bool could = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  if (could && status.st_size != 0) {
    could = ::pread(fd, start, sizeof start, 0) == sizeof start && sqlite::has_database_magic(start);
  }
  ::close(fd);
  return could;
}

std::shared_ptr<Database> Databases::adopt(std::uint64_t parent_inode, int parent_fd, const std::string& name,
                                           const std::string& path) {
  if (!require_in_service(path) || !could_be_database(parent_fd, name)) return nullptr;
  int fd = ::openat(parent_fd, name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return nullptr;
  struct stat status {};
  ::fstat(fd, &status);
  auto database = own(std::make_unique<Database>(environment_, path, adopt_file(fd, path)));
  database->start_attributes(status.st_mode & 07777, status.st_uid, status.st_gid);
  {
    Lock lock(mutex_);
    auto [it, inserted] = by_place_.try_emplace({parent_inode, name}, database);
    if (!inserted) return it->second;
  }
  if (status.st_size != 0) {
    database->content_arrived(nullptr);
    reconcile_soon(database);
  }
  return database;
}

void Databases::drop(std::uint64_t parent_inode, const std::string& name) {
  auto database = take_out({parent_inode, name});
  if (!database) return;
  if (auto removed = database->remove_directory(); !removed) {
    spdlog::warn("{}: what is left of its log could not be removed: {}", database->path(),
                 removed.error().message);
  }
}

std::shared_ptr<Database> Databases::take_out(const Place& place) {
  std::shared_ptr<Database> database;
  {
    Lock lock(mutex_);
    auto node = by_place_.extract(place);
    if (!node) return nullptr;
    database = std::move(node.mapped());
  }
  // In one step: a first commit may be under way.
  if (!database->dropped()) return nullptr;
  const DatabaseId id = database->id();
  failpoint::reach("drop.before_note");
  if (auto noted = is_primary() ? dropped_.add(id) : Result<void>(); !noted)
    spdlog::warn("{}: {}; a replica that is away keeps it", database->path(), noted.error().message);
  failpoint::reach("drop.after_note");
  {
    Lock lock(mutex_);
    by_id_.erase(id.value);
  }
  notify(id);
  return database;
}

std::vector<std::shared_ptr<Database>> Databases::placed_below(const std::string& directory) const {
  std::vector<std::shared_ptr<Database>> found;
  {
    Lock lock(mutex_);
    for (const auto& [place, database] : by_place_) found.push_back(database);
  }
  std::erase_if(found, [&](const auto& database) { return !below(database->path(), directory); });
  return found;
}

bool Databases::any_below(const std::string& directory) const {
  for (const auto& database : all()) {
    if (below(database->path(), directory)) return true;
  }
  return false;
}

// --- work that requests start
// ---------------------------------------------------------------------------------

void Databases::reconcile_soon(const std::shared_ptr<Database>& database) {
  if (!is_primary()) return;
  {
    Lock lock(mutex_);
    if (!reconciling_.try_emplace(database.get(), true).second) return;  // on its way
  }
  delayed_.run_after(kReconcileDelay, [this, key = database.get(), weak = std::weak_ptr(database)] {
    try_reconcile(key, weak);
  });
}

void Databases::try_reconcile(const Database* key, const std::weak_ptr<Database>& weak) {
  auto database = weak.lock();
  MountWork* work = work_;
  if (!database || work == nullptr) {
    Lock lock(mutex_);
    reconciling_.erase(key);
    return;
  }
  const std::uint64_t before = database->unlogged_writes();
  auto attempt = [this, database] {
    // The database's files belong to this descriptor table, the lock to the mount's threads: they wait.
    std::promise<void> done;
    boost::asio::post(workers_, [&] {
      if (auto settled = database->reconcile(); !settled) {
        spdlog::warn("{}: taking its content over: {}", database->path(), settled.error().message);
      } else if (const std::string problem = database->health().problem; !*settled && !problem.empty()) {
        spdlog::warn("{}: {}", database->path(), problem);
      }
      done.set_value();
    });
    done.get_future().wait();
  };
  auto done = [this, database, before](bool locked) {
    {
      Lock lock(mutex_);
      reconciling_.erase(database.get());
    }
    // What does not look like a database is left alone until it is written to again.
    const bool again = !locked || database->unlogged_writes() > before;
    if (again && !database->is_dropped() && database->has_unlogged_writes()) reconcile_soon(database);
  };
  work->with_shared_lock(database, std::move(attempt), std::move(done));
}

std::function<void()> Databases::on_worker(std::function<void()> task) {
  return [this, task = std::move(task)] { boost::asio::post(workers_, task); };
}

void Databases::invalidate_wal_index(const std::shared_ptr<Database>& database, std::function<void()> done) {
  MountWork* work = work_;
  if (work == nullptr) return done();
  work->invalidate_wal_index(database, on_worker(std::move(done)));
}

void Databases::prepare_for_readers(const std::shared_ptr<Database>& database, std::function<void()> done) {
  MountWork* work = work_;
  if (is_primary() || work == nullptr || !database->wal_mode() || work->is_warm(*database)) return done();
  work->warm(database, on_worker(std::move(done)));
}

void Databases::readers_left(const std::shared_ptr<Database>& database) {
  if (is_primary()) return;
  // Applying may have waited for just this.
  if (MountWork* work = work_; work != nullptr && work->is_waiting(*database)) work->apply(database);
  delayed_.run_after(kCoolDelay, [this, weak = std::weak_ptr(database)] {
    auto database = weak.lock();
    MountWork* work = work_;
    if (database && work != nullptr && database->application_handles() == 0) work->cool(database);
  });
}

bool Databases::is_warm(const Database& database) const {
  MountWork* work = work_;
  return work != nullptr && work->is_warm(database);
}

void Databases::run_on_disk(std::function<void()> task) { boost::asio::post(workers_, std::move(task)); }

void Databases::advance_base_soon(DatabaseId id) {
  // Called with the database's mutex held: a worker looks whether a new base is due.
  boost::asio::post(workers_, [this, id] {
    auto database = find_by_id(id);
    if (!database) return;
    if (auto advanced = database->advance_base(false); !advanced) {
      spdlog::warn("{}: recording a replay base: {}", database->path(), advanced.error().message);
    }
  });
}

void Databases::close() {
  follower_.stop();
  delayed_.stop();
  workers_.join();
  for (const auto& database : all()) {
    const std::string file = environment_.tree_directory() + "/" + database->path();
    if (auto closed = database->close(file); !closed) {
      spdlog::warn("{}: not closed cleanly, the next start replays its log: {}", database->path(),
                   closed.error().message);
    }
  }
}

}  // namespace rillfs
