// Databases whose log, base or description is damaged. One of them is no reason to stop the node.
//
// On the primary such a database is out of service: its files stay as they are, its names give EIO, replicas
// keep what they have of it. On a replica everything of it is parked, and the primary sends it anew.
#include <spdlog/spdlog.h>

#include <cerrno>

#include "fs/database_info.h"
#include "fs/databases.h"
#include "fs/parking.h"
#include "fs/sqlite/journal.h"

namespace rillfs {
namespace {

constexpr Label kDamaged = "recovery: damaged database";

/// The files of one database are to blame. What would meet every database (no room, no descriptors, no right)
/// is not that.
bool is_damage(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNoSpace:
    case ErrorCode::kBusy:
    case ErrorCode::kClosed:
      return false;
    case ErrorCode::kIo:
      return error.errno_value == 0 || error.errno_value == EIO || error.errno_value == EUCLEAN ||
             error.errno_value == EBADMSG || error.errno_value == EISDIR || error.errno_value == ENOTDIR ||
             error.errno_value == EFBIG;
    default:
      return true;
  }
}

}  // namespace

Result<void> Databases::met_damage(DatabaseId id, const Error& error) {
  const std::string directory = environment_.database_directory(id);
  if (!is_damage(error)) return error.with(directory);
  if (!environment_.primary) return park_damaged(id, error);
  auto info = load_database_info(environment_.files, directory, id);
  take_out_of_service(
      {id, info ? info->path : "",
       "out of service, nothing of it was changed: " + error.message +
           ". To put it right, stop rillfs and restore " + directory +
           " from a backup. Or go on with a replica's content, which is kept there: save it with "
           "`rillfs export` on the replica, move that directory and the database's file away, start rillfs, "
           "and "
           "`rillfs import` it"});
  return {};
}

void Databases::take_out_of_service(OutOfService database) {
  spdlog::error("{}: {}",
                database.path.empty() ? environment_.database_directory(database.id) : database.path,
                database.why);
  out_of_service_.push_back(std::move(database));
}

Result<void> Databases::park_damaged(DatabaseId id, const Error& error) {
  FileSystem& files = environment_.files;
  const std::string directory = environment_.database_directory(id);
  auto info = load_database_info(files, directory, id);
  RILL_ASSIGN(const std::string place, free_parking_place(environment_, id, "damaged"));
  RILL_TRY(files.rename(directory, place, kDamaged));
  if (info) {
    // Where the daemon dies in between, what is left in the tree is a local file like any other.
    const std::string file = environment_.tree_directory() + "/" + info->path;
    for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
      auto moved = files.rename(file + suffix, place + "/database" + suffix, kDamaged);
      if (!moved && moved.error().code != ErrorCode::kNotFound) return moved.error();
    }
  }
  RILL_TRY(files.sync_directory(place, kDamaged));
  RILL_TRY(files.sync_directory(environment_.parked_directory(), kDamaged));
  RILL_TRY(files.sync_directory(environment_.databases_directory(), kDamaged));
  spdlog::error("{}: {}. Everything of it is kept in {}; the primary is asked for it anew. Check the disk",
                info ? info->path : directory, error.message, place);
  return {};
}

Result<void> Databases::require_in_service(const std::string& path, bool below) const {
  if (out_of_service_.empty()) return {};
  const auto companion = sqlite::split_companion(path);
  for (const OutOfService& one : out_of_service_) {
    const bool is_it = path == one.path || (companion && companion->base == one.path) ||
                       (below && one.path.starts_with(path + "/"));
    if (is_it && !one.path.empty()) return errno_error(EIO, one.path + " is out of service");
  }
  return {};
}

std::vector<DatabaseId> Databases::withheld() {
  std::vector<DatabaseId> ids;
  for (const OutOfService& one : out_of_service_) {
    if (one.id.value != 0) ids.push_back(one.id);
  }
  return ids;
}

}  // namespace rillfs
