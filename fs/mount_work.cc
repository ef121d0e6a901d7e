#include "fs/mount_work.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <future>

#include "fs/apply/descriptor.h"
#include "fs/apply/local_names.h"
#include "fs/sqlite/database_header.h"
#include "fs/sqlite/wal_index.h"

namespace rillfs {
MountWork::MountWork(Databases& databases, apply::MountThreads& threads, MountWorkOptions options)
    : databases_(databases), threads_(threads), options_(std::move(options)) {}

MountWork::~MountWork() { stop(); }

std::shared_ptr<apply::Applier> MountWork::applier(const std::shared_ptr<Database>& database) {
  Lock lock(mutex_);
  if (stopping_) return nullptr;
  auto& applier = appliers_[database.get()];
  if (!applier) {
    applier = std::make_shared<apply::Applier>(databases_, database, threads_, options_.mountpoint,
                                               options_.applier);
  }
  return applier;
}

void MountWork::apply(const std::shared_ptr<Database>& database) {
  auto found = applier(database);
  if (found) found->apply_soon();
}

void MountWork::warm(const std::shared_ptr<Database>& database, std::function<void()> done) {
  auto found = applier(database);
  if (!found) return done();
  boost::asio::post(found->strand(), [found, done = std::move(done)] { found->warm(done); });
}

void MountWork::cool(const std::shared_ptr<Database>& database) {
  auto found = applier(database);
  if (found) boost::asio::post(found->strand(), [found] { found->cool(); });
}

std::shared_ptr<apply::Applier> MountWork::existing_applier(const Database& database) const {
  Lock lock(mutex_);
  auto it = appliers_.find(&database);
  return it == appliers_.end() ? nullptr : it->second;
}

bool MountWork::is_warm(const Database& database) const {
  auto found = existing_applier(database);
  return found && found->is_warm();
}

bool MountWork::is_waiting(const Database& database) const {
  auto found = existing_applier(database);
  return found && !found->obstacle().empty();
}

std::unordered_map<std::uint64_t, std::string> MountWork::obstacles() const {
  std::vector<std::pair<const Database*, std::shared_ptr<apply::Applier>>> all;
  {
    Lock lock(mutex_);
    all.assign(appliers_.begin(), appliers_.end());
  }
  std::unordered_map<std::uint64_t, std::string> obstacles;
  for (const auto& [database, applier] : all) {
    if (auto text = applier->obstacle(); !text.empty()) obstacles[database->id().value] = text;
  }
  return obstacles;
}

void MountWork::install(DatabaseId id) {
  boost::asio::post(threads_.executor(), [this, id] { install_now(id); });
}

void MountWork::install_now(DatabaseId id) {
  const auto path = databases_.prepared_path(id);
  if (!path) return;
  Lock names(threads_.names());
  apply::make_parents(options_.mountpoint, *path);
  if (auto aside = apply::move_aside(options_.mountpoint, *path)) databases_.gave_way(*aside, *path);
  // The mount puts the prepared file there while it answers this.
  const int fd = ::open(mounted(*path).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!databases_.prepared_path(id)) return;
  if (fd >= 0) return install(id);  // a file had been there after all
  spdlog::error("{}: the complete snapshot could not be put in place: {}", *path, std::strerror(error));
  databases_.delayed().run_after(std::chrono::seconds(1), [this, id] { install(id); });
}

void MountWork::rename(const std::shared_ptr<Database>& database, std::string new_path) {
  // Without an applier no older rename waits for its turn.
  if (database->path() == new_path && !existing_applier(*database)) return;
  auto found = applier(database);
  if (!found) return;
  boost::asio::post(found->strand(), [found, new_path = std::move(new_path)] {
    found->rename(new_path);
    found->apply();
  });
}

void MountWork::give_way(const std::shared_ptr<Database>& database, std::string path) {
  auto found = applier(database);
  if (!found) return;
  boost::asio::post(found->strand(), [found, path = std::move(path)] { found->give_way(path); });
}

void MountWork::set_attributes(const std::shared_ptr<Database>& database) {
  auto found = applier(database);
  if (found) boost::asio::post(found->strand(), [found] { found->set_attributes(); });
}

void MountWork::remove(const std::shared_ptr<Database>& database) {
  auto found = applier(database);
  if (!found) return;
  boost::asio::post(found->strand(), [this, found, database] {
    if (auto removed = found->remove(); !removed) {
      spdlog::error("{}: removing it failed: {}", database->path(), removed.error().message);
    }
    Lock lock(mutex_);
    appliers_.erase(database.get());
  });
}

void MountWork::with_shared_lock(const std::shared_ptr<Database>& database, std::function<void()> work,
                                 std::function<void(bool)> done) {
  boost::asio::post(threads_.executor(), [this, database, work = std::move(work), done = std::move(done)] {
    using apply::LockMode;
    using apply::OfdLock;
    auto file = apply::Descriptor::open(mounted(database->path()));
    if (!file) return done(false);
    // As SQLite: nobody may be about to write (PENDING), nor be writing (SHARED range).
    auto pending = OfdLock::try_lock(file->get(), sqlite::kPending, LockMode::kShared);
    if (!pending || !*pending) return done(false);
    auto shared = OfdLock::try_lock(file->get(), sqlite::kShared, LockMode::kShared);
    (*pending)->release();
    if (!shared || !*shared) return done(false);
    work();
    done(true);
  });
}

namespace {

/// What is published; nothing while somebody publishes, or if it is to be rebuilt. Read, not mapped: a
/// mapping that is torn down with the process waits for the mount.
std::optional<sqlite::WalIndexHeader> read_index_header(const apply::Descriptor& shm) {
  std::uint8_t copies[2 * sqlite::kIndexHeaderSize] = {};
  const auto got = shm.read_at(copies, 0);
  const bool whole = got && *got == sizeof copies &&
                     std::memcmp(copies, copies + sqlite::kIndexHeaderSize, sqlite::kIndexHeaderSize) == 0;
  return whole ? sqlite::parse_wal_index_header(Bytes(copies).first(sqlite::kIndexHeaderSize)) : std::nullopt;
}

}  // namespace

void MountWork::read_wal_index(const std::shared_ptr<Database>& database,
                               std::function<void(const std::optional<sqlite::WalIndexHeader>&)> done) {
  boost::asio::post(threads_.executor(), [this, database, done = std::move(done)] {
    auto shm = apply::Descriptor::open(mounted(database->path()) + "-shm");
    done(shm ? read_index_header(*shm) : std::nullopt);
  });
}

void MountWork::find_wal_writer(const std::shared_ptr<Database>& database,
                                std::function<void(const WalWriter&)> done) {
  boost::asio::post(threads_.executor(), [this, database, done = std::move(done)] {
    WalWriter writer;
    auto shm = apply::Descriptor::open(mounted(database->path()) + "-shm");
    const auto index = shm ? read_index_header(*shm) : std::nullopt;
    if (index) {
      auto holder_of = [&](const sqlite::LockRange& lock, pid_t& process) {
        auto holder = apply::find_conflict(shm->get(), lock, apply::LockMode::kExclusive);
        if (holder && *holder) process = (*holder)->pid > 0 ? (*holder)->pid : -1;
        return static_cast<bool>(holder);
      };
      writer.max_frame = index->max_frame;
      writer.known = holder_of(sqlite::kWalWrite, writer.process) &&
                     holder_of(sqlite::kWalCheckpoint, writer.checkpointer);
    }
    done(writer);
  });
}

void MountWork::invalidate_wal_index(const std::shared_ptr<Database>& database, std::function<void()> done) {
  boost::asio::post(threads_.executor(), [this, database, done = std::move(done)] {
    auto shm = apply::Descriptor::open(mounted(database->path()) + "-shm");
    // Two copies of zeros do not verify: whoever comes next has SQLite rebuild the index from the WAL.
    const std::uint8_t zeros[2 * sqlite::kIndexHeaderSize] = {};
    if (shm && shm->write_at(zeros, 0)) {
      spdlog::info("{}: its writer died after a commit; the wal-index will be rebuilt", database->path());
    }
    done();
  });
}

void MountWork::stop() {
  std::vector<std::shared_ptr<apply::Applier>> all;
  {
    Lock lock(mutex_);
    stopping_ = true;
    for (auto& [database, applier] : appliers_) all.push_back(applier);
    appliers_.clear();
  }
  for (auto& applier : all) {
    std::promise<void> closed;
    boost::asio::post(applier->strand(), [&] {
      applier->close();
      closed.set_value();
    });
    closed.get_future().wait();
  }
}

}  // namespace rillfs
