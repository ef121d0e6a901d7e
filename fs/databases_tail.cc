// What following a passed-through WAL (database_tail.cc) needs of the node: the thread that reads along, and
// the wal-index, which only the mount's threads can reach.
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>
#include <fstream>
#include <future>

#include "fs/databases.h"
#include "fs/mount_work.h"
#include "replication/base/waiting.h"

namespace rillfs {
namespace {

/// Threads that answer requests may wait for the mount's; some must be left to answer what those need.
constexpr int kIndexReadersMax = 4;

/// One of few that may wait.
class Turn {
 public:
  explicit Turn(std::atomic<int>& taken) : taken_(taken), allowed_(++taken <= kIndexReadersMax) {}
  ~Turn() { --taken_; }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  bool allowed() const { return allowed_; }

 private:
  std::atomic<int>& taken_;
  const bool allowed_;
};

/// The process that a thread belongs to; 0 if it cannot be told, as of one in another container.
pid_t process_of(pid_t thread) {
  std::ifstream status("/proc/" + std::to_string(thread) + "/status");
  std::string word;
  pid_t process = 0;
  while (status >> word)
    if (word == "Tgid:") return status >> process ? process : 0;
  return 0;
}

}  // namespace

WalFollower::Help Databases::follower_help() {
  return {.read_index = [this](const auto& database) { ask_wal_index(database); },
          .reconcile =
              [this](const auto& database) {
                database->wal_grows_unsettled();
                reconcile_soon(database);
              }};
}

void Databases::follow(Database& database, std::uint64_t wal, const std::string& path) {
  if (auto followed = follower_.follow(wal, database.shared_from_this(), path); !followed)
    spdlog::warn("{}: {}. Its commits are found when they are synced or checkpointed only", database.path(),
                 followed.error().message);
}

Environment::PublishedIndex Databases::published_index(Database& database) {
  const Turn turn(index_readers_);
  MountWork* work = work_;
  if (work == nullptr) return std::nullopt;
  if (!turn.allowed())
    return make_error(ErrorCode::kBusy, database.path() + ": too many wait for their wal-index; try again");
  std::promise<std::optional<sqlite::WalIndexHeader>> answer;
  auto answered = answer.get_future();
  work->read_wal_index(database.shared_from_this(), [&](const auto& index) { answer.set_value(index); });
  about_to_wait();
  return answered.get();
}

void Databases::ask_wal_index(const std::shared_ptr<Database>& database) {
  // No worker waits for it: the mount's threads wait for workers themselves.
  MountWork* work = work_;
  if (work == nullptr) return;
  work->read_wal_index(database, [this, database](const auto& index) {
    if (!index) return;  // none is published, so that nobody takes what follows for committed
    boost::asio::post(workers_, [database, index = *index] {
      if (auto drained = database->drain_published(index); !drained)
        spdlog::error("{}: {}", database->path(), drained.error().message);
    });
  });
}

Result<void> Databases::refuse_commit(Database& database, pid_t thread, const Error& why) {
  const Turn turn(index_readers_);
  MountWork* work = work_;
  if (work == nullptr || !turn.allowed()) return why;
  std::promise<WalWriter> answer;
  auto answered = answer.get_future();
  work->find_wal_writer(database.shared_from_this(),
                        [&](const WalWriter& writer) { answer.set_value(writer); });
  about_to_wait();
  const WalWriter writer = answered.get();
  // A checkpoint of somebody else: nothing that was told to be committed is taken back.
  if (writer.known && writer.process == 0) return why;
  const pid_t asking = process_of(thread);
  if (writer.known && writer.process > 0 && asking != 0 && writer.process != asking) return why;
  if (writer.known && writer.process > 0 && asking != 0)
    return database.refuse_followed(writer.max_frame, writer.checkpointer == asking, why);
  return database.close_in_doubt(why);
}

}  // namespace rillfs
