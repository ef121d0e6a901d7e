#include "fs/parking.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/database_info.h"
#include "fs/log_pin.h"
#include "fs/replay.h"
#include "replication/base/failpoint.h"
#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {
constexpr Label kPark = "park";

/// How many pages of the file are not as `content` has them.
Result<std::uint64_t> count_differences(File& file, const Content& content) {
  std::uint64_t count = 0;
  Buffer page(content.page_size());
  for (Pgno pgno{1}; pgno <= content.page_count(); pgno = pgno.next()) {
    if (!content.page(pgno).present()) continue;
    RILL_ASSIGN(std::size_t got, file.read_at(page, (std::uint64_t{pgno.value} - 1) * page.size(), kPark));
    if (got != page.size() || ltx::page_checksum(pgno, page) != content.page(pgno)) ++count;
  }
  return count;
}

Result<void> copy_file(File& from, File& to) {
  Buffer chunk(std::size_t{1} << 20);
  for (std::uint64_t offset = 0;; offset += chunk.size()) {
    RILL_ASSIGN(std::size_t n, from.read_at(chunk, offset, kPark));
    RILL_TRY(to.write_at(Bytes(chunk).first(n), offset, kPark));
    if (n < chunk.size()) return {};
  }
}

/// The database as of `position`, complete and durable, and what it is called.
Result<void> copy_branch(Environment& environment, Database& database, const Position& position,
                         const std::string& temporary) {
  FileSystem& files = environment.files;
  // Before the copy: what the file gets while it is copied is in the log after this base.
  const Position base = database.details().base;
  const LogPin pin(database, base.txid, log::Pin::kWhateverItTakes);
  RILL_TRY(files.make_directories(temporary, kPark));
  RILL_ASSIGN(auto from,
              files.open(environment.tree_directory() + "/" + database.path(), OpenMode::kRead, kPark));
  RILL_ASSIGN(auto to, files.open(temporary + "/database", OpenMode::kCreate, kPark));
  RILL_TRY(copy_file(*from, *to));
  Content content = database.content();  // at the end already: only pages are written
  failpoint::reach("park.before_replay");
  RILL_TRY(replay(files, database.log_directory(), database.id(), base, position.txid, *to, content));
  RILL_ASSIGN(const std::uint64_t wrong, count_differences(*to, content));
  if (wrong != 0)
    spdlog::error("{}: {} pages of it are not what was committed; they are kept as they are", database.path(),
                  wrong);
  RILL_TRY(to->sync_data(kPark));
  return save_database_info(files, temporary, database.info());
}

}  // namespace

Result<void> park(Environment& environment, Database& database) {
  FileSystem& files = environment.files;
  const Position position = database.published();
  // With the checksum: an epoch that had two primaries has two branches of the same length.
  const std::string directory = environment.parked_directory() + "/" + to_hex(database.id().value) + "-" +
                                std::to_string(position.epoch.value) + "-" + to_hex(position.txid.value) +
                                "-" + to_hex(position.checksum.value);
  RILL_ASSIGN(bool exists, files.exists(directory, kPark));
  if (exists) return {};
  const std::string temporary = directory + ".tmp";
  RILL_ASSIGN(bool left, files.exists(temporary, kPark));
  if (left) RILL_TRY(remove_tree(files, temporary, kPark));  // an attempt that failed
  failpoint::reach("park.before_copy");
  if (auto copied = copy_branch(environment, database, position, temporary); !copied) {
    // What cannot be removed now goes at the next attempt or the next start.
    (void)remove_tree(files, temporary, kPark);
    return copied;
  }
  failpoint::reach("park.before_rename");
  RILL_TRY(files.rename(temporary, directory, kPark));
  failpoint::reach("park.after_rename");
  RILL_TRY(files.sync_directory(environment.parked_directory(), kPark));
  spdlog::warn(
      "{}: this node had transactions up to {} that its primary does not have. They are kept in {}; the "
      "database now follows the primary",
      database.path(), to_text(position), directory);
  return {};
}

Result<void> park_as_it_is(Environment& environment, Database& database) {
  FileSystem& files = environment.files;
  RILL_ASSIGN(const std::string place, free_parking_place(environment, database.id(), "not-taken-over"));
  const std::string temporary = place + ".tmp";
  RILL_TRY(files.make_directories(temporary, kPark));
  for (const char* suffix : {"", "-wal", "-journal"}) {
    auto from =
        files.open(environment.tree_directory() + "/" + database.path() + suffix, OpenMode::kRead, kPark);
    if (!from && from.error().code == ErrorCode::kNotFound) continue;
    if (!from) return std::move(from).error();
    RILL_ASSIGN(auto to, files.open(temporary + "/database" + suffix, OpenMode::kCreate, kPark));
    RILL_TRY(copy_file(**from, *to));
    RILL_TRY(to->sync_data(kPark));
  }
  RILL_TRY(save_database_info(files, temporary, database.info()));
  failpoint::reach("park.before_rename");
  RILL_TRY(files.rename(temporary, place, kPark));
  RILL_TRY(files.sync_directory(environment.parked_directory(), kPark));
  spdlog::warn(
      "{}: what was written here without a transaction, while this node was primary, is no database that "
      "could be taken over. It is kept in {}; the database is as it was before, and follows the primary",
      database.path(), place);
  return {};
}

Result<std::string> free_parking_place(Environment& environment, DatabaseId id, const std::string& why) {
  const std::string wanted = environment.parked_directory() + "/" + to_hex(id.value) + "-" + why;
  std::string place = wanted;
  for (int n = 2;; ++n) {
    RILL_ASSIGN(bool taken, environment.files.exists(place, kPark));
    if (!taken) return place;
    place = wanted + "-" + std::to_string(n);  // the same thing has happened before
  }
}

std::uint64_t count_parked(FileSystem& files, const std::string& parked_directory, DatabaseId id) {
  auto entries = files.list(parked_directory, kPark);
  if (!entries) return 0;
  const std::string prefix = to_hex(id.value) + "-";
  return static_cast<std::uint64_t>(
      std::count_if(entries->begin(), entries->end(), [&](const DirectoryEntry& entry) {
        return entry.name.starts_with(prefix) && !entry.name.ends_with(".tmp");
      }));
}

}  // namespace rillfs
