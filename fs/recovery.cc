// Coming back up: every database in the data directory is brought to its log's end, then its companions go.
//
// A database whose log ends at its replay base was closed cleanly: nothing but headers and page checksums is
// read. Otherwise the log is replayed from the base over the file, which never holds uncommitted pages, so
// that a journal is always obsolete and a WAL holds nothing that the log does not have.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "fs/database_info.h"
#include "fs/databases.h"
#include "fs/installation.h"
#include "fs/parking.h"
#include "fs/replay.h"
#include "fs/sqlite/database_header.h"
#include "fs/wal_mark.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {

constexpr Label kRecover = "recovery";

std::string name_of(const std::string& path) {
  auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

Result<void> remove_companions(FileSystem& files, const std::string& file) {
  for (const char* suffix : {"-wal", "-shm", "-journal"}) {
    RILL_TRY(remove_if_there(files, file + suffix, kRecover));
    failpoint::reach("recovery.between_companions");
  }
  return {};
}

bool is_empty(int directory_fd, const std::string& name) {
  struct stat status {};
  return ::fstatat(directory_fd, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_size == 0;
}

/// Died while it was made: the base is recorded before the log gets its first segment.
Result<bool> never_completed(FileSystem& files, const std::string& directory) {
  RILL_ASSIGN(bool based, files.exists(directory + "/base.json", kRecover));
  if (based) return false;
  RILL_ASSIGN(bool logged, files.exists(directory + "/log", kRecover));
  if (!logged) return true;
  RILL_ASSIGN(auto segments, files.list(directory + "/log", kRecover));
  return segments.empty();
}

Result<std::uint64_t> inode_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) < 0) return errno_error(errno, path);
  return status.st_ino;
}

}  // namespace

Result<void> Databases::recover() {
  FileSystem& files = environment_.files;
  failpoint::reach("recovery.begun");
  for (const std::string& directory : {environment_.tree_directory(), environment_.databases_directory(),
                                       environment_.spool_directory(), environment_.parked_directory()}) {
    RILL_TRY(files.make_directories(directory, kRecover));
  }
  RILL_TRY(empty_leftovers());
  if (auto loaded = dropped_.load(); !loaded)
    spdlog::warn("{}; replicas that were away keep what was dropped meanwhile", loaded.error().message);
  RILL_TRY(settle_rename());
  RILL_TRY(begin_settling_attached());
  RILL_ASSIGN(auto entries, files.list(environment_.databases_directory(), kRecover));
  for (const DirectoryEntry& entry : entries) {
    auto id = from_hex(entry.name);
    if (!entry.is_directory || !id) continue;
    if (auto recovered = recover_one(DatabaseId{*id}); !recovered)
      RILL_TRY(met_damage(DatabaseId{*id}, recovered.error()));
  }
  failpoint::reach("recovery.done");
  return end_settling_attached();
}

/// What was being made when the last run ended: everything in spool/, copies in parked/ that were not
/// completed.
Result<void> Databases::empty_leftovers() {
  FileSystem& files = environment_.files;
  for (const std::string& directory : {environment_.spool_directory(), environment_.parked_directory()}) {
    RILL_ASSIGN(auto entries, files.list(directory, kRecover));
    for (const DirectoryEntry& entry : entries) {
      const bool complete = directory == environment_.parked_directory() && !entry.name.ends_with(".tmp");
      if (complete) continue;
      const std::string path = directory + "/" + entry.name;
      RILL_TRY(entry.is_directory ? remove_tree(files, path, kRecover) : files.remove(path, kRecover));
    }
  }
  return {};
}

Result<void> Databases::set_apart(const std::string& directory, DatabaseId id, const std::string& why) {
  RILL_ASSIGN(const std::string place, free_parking_place(environment_, id, "without-file"));
  spdlog::warn("{}: {}; its log is kept in {}", to_hex(id.value), why, place);
  return environment_.files.rename(directory, place, kRecover);
}

Result<void> Databases::recover_one(DatabaseId id) {
  FileSystem& files = environment_.files;
  const std::string directory = environment_.database_directory(id);
  failpoint::reach("recovery.before_database");
  RILL_ASSIGN(bool unfinished, never_completed(files, directory));
  if (unfinished) return remove_tree(files, directory, kRecover);
  RILL_ASSIGN(auto info, load_database_info(files, directory, id));
  const std::string file_path = environment_.tree_directory() + "/" + info.path;
  RILL_ASSIGN(bool not_installed, installation_was_interrupted(files, directory, file_path));
  if (not_installed) return remove_tree(files, directory, kRecover);  // it comes again from the primary
  RILL_ASSIGN(StoredBase stored, load_base(files, directory));
  RILL_ASSIGN(auto opened,
              log::Log::open(files, environment_.clock, directory + "/log", id,
                             log::LogState{stored.content.position(), stored.content.hash(), 0, 0},
                             environment_.log_options, stored.base.position.txid));
  if (opened.torn_bytes != 0) {
    spdlog::warn(
        "{}: the last {} bytes of its log were incomplete, of a transaction that was never acknowledged as "
        "durable; they are cut off",
        info.path, opened.torn_bytes);
  }
  RILL_TRY(take_back_undecided(*opened.log, id, info.path));
  const Position end = opened.log->end().position;
  RILL_ASSIGN(bool there, files.exists(file_path, kRecover));
  // Without a first commit it is no replicated database: what lies in the tree, with whatever lies beside it,
  // is taken over as any other file.
  if (end.txid.value == 0) {
    opened.log.reset();
    return remove_tree(files, directory, kRecover);
  }
  if (!there) return set_apart(directory, id, info.path + " is not there any more");
  RILL_ASSIGN(bool unlogged, files.exists(directory + "/unlogged", kRecover));
  RILL_ASSIGN(std::shared_ptr<File> file, files.open(file_path, OpenMode::kReadWrite, kRecover));
  Content content = std::move(stored.content);
  ReplayBase base = stored.base;
  const bool behind = end.txid != base.position.txid || !end.same_place(content.position());
  if (behind) {
    // Content that came without a transaction is newer than the log: then only the checksums are brought up.
    failpoint::reach("recovery.before_replay");
    RILL_ASSIGN(auto scratch, files.open_unnamed(environment_.spool_directory(), kRecover));
    RILL_ASSIGN(Replayed replayed, replay(files, directory + "/log", id, base.position, end.txid,
                                          unlogged ? *scratch : *file, content));
    spdlog::info("{}: replayed {} transactions ({} pages) to {}", info.path, replayed.records, replayed.pages,
                 to_text(end));
    if (!unlogged) {
      failpoint::reach("recovery.before_sync");
      RILL_TRY(file->sync_data(kRecover));
      RILL_TRY(opened.log->sync());
      failpoint::reach("recovery.before_base");
      RILL_TRY(save_base(files, directory, end, content));
      failpoint::reach("recovery.after_base");
      base = {end, end, content.page_size()};
    }
  }
  auto database = own(std::make_unique<Database>(
      environment_, Database::Recovered{info, std::move(content), base, std::move(opened.log)}, file));
  RILL_ASSIGN(const bool followed, has_wal_mark(files, directory, environment_.boot_id));
  if (followed && !unlogged) {
    if (auto wal = files.open(file_path + "-wal", OpenMode::kReadWrite, kRecover)) {
      RILL_TRY(database->take_from_wal(std::move(*wal)));
      RILL_TRY(end_wal(*database, file_path));
    }
  }
  if (unlogged) {
    RILL_ASSIGN(bool settled, take_over_what_was_written(*database, file_path));
    if (settled && followed) {
      RILL_TRY(end_wal(*database, file_path));
    } else if (settled) {
      RILL_TRY(database->write_back());
    } else if (!environment_.primary) {
      // It is no database, and nobody here will make it one: kept aside, and then the log is believed again.
      RILL_TRY(park_as_it_is(environment_, *database));
      RILL_TRY(remove_if_there(files, directory + "/unlogged", kRecover));
      RILL_TRY(files.sync_directory(directory, kRecover));
      database.reset();
      return recover_one(id);
    }
  }
  // What could not be taken over yet may need them.
  failpoint::reach("recovery.before_companions");
  if (!database->has_unlogged_writes()) {
    RILL_TRY(remove_companions(files, file_path));
    RILL_TRY(remove_wal_mark(files, directory));
  }
  failpoint::reach("recovery.after_companions");
  RILL_ASSIGN(std::uint64_t parent, inode_of(environment_.tree_directory() + parent_of(info.path)));
  RILL_ASSIGN(std::uint64_t root, inode_of(environment_.tree_directory()));
  Lock lock(mutex_);
  by_place_[{parent == root ? kRootInode : parent, name_of(info.path)}] = database;
  by_id_[id.value] = database;
  return {};
}

/// All that the followed WAL had is in the log: from here on nobody commits to it any more.
Result<void> Databases::end_wal(Database& database, const std::string& file_path) {
  RILL_TRY(remove_if_there(environment_.files, file_path + "-wal", kRecover));
  RILL_TRY(database.fence_wal());
  return database.write_back();
}

/// Content that came without a transaction, on a node that was primary then. On a replica too: in the log it
/// is a branch like any other, which is parked when the primary turns out not to have it.
Result<bool> Databases::take_over_what_was_written(Database& database, const std::string& file_path) {
  auto wal = environment_.files.open(file_path + "-wal", OpenMode::kReadWrite, kRecover);
  database.content_arrived(wal ? std::shared_ptr<File>(std::move(*wal)) : nullptr);
  auto settled = database.reconcile_at_start();
  const bool passes = settled || environment_.primary || settled.error().code == ErrorCode::kNoSpace;
  if (passes) return settled;
  spdlog::warn("{}: {}", database.path(), settled.error().message);
  return false;
}

Result<void> Databases::adopt_found() {
  adopt_below(environment_.tree_directory(), "");
  return {};
}

void Databases::adopt_below(const std::string& directory, const std::string& relative) {
  auto entries = environment_.files.list(directory, kRecover);
  auto inode = inode_of(directory);
  int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (!entries || !inode || fd < 0) return;
  const std::uint64_t parent = relative.empty() ? kRootInode : *inode;
  for (const DirectoryEntry& entry : *entries) {
    const std::string path = relative.empty() ? entry.name : relative + "/" + entry.name;
    if (entry.is_directory) {
      adopt_below(directory + "/" + entry.name, path);
    } else if (!find(parent, entry.name) && could_be_database(fd, entry.name) && !is_empty(fd, entry.name)) {
      adopt_at_start(parent, fd, entry.name, path);
    }
  }
  ::close(fd);
}

void Databases::adopt_at_start(std::uint64_t parent, int parent_fd, const std::string& name,
                               const std::string& path) {
  if (!require_in_service(path)) return;
  // Its log may be one whose name cannot be read: then it must not get another.
  const auto nameless = std::find_if(out_of_service_.begin(), out_of_service_.end(),
                                     [](const OutOfService& one) { return one.path.empty(); });
  if (nameless != out_of_service_.end()) {
    return take_out_of_service({DatabaseId{}, path,
                                "it may be the file of " + environment_.database_directory(nameless->id) +
                                    ", whose name cannot be read: restore info.json there, or, to begin "
                                    "anew with the files as they are, move that directory away; then "
                                    "restart rillfs"});
  }
  auto database = adopt(parent, parent_fd, name, path);
  const std::string file = environment_.tree_directory() + "/" + path;
  auto journal = environment_.files.open(file + "-journal", OpenMode::kRead, kRecover);
  if (!database || journal) return;  // an application rolls the journal back, through the mount
  if (auto wal = environment_.files.open(file + "-wal", OpenMode::kReadWrite, kRecover)) {
    database->content_arrived(std::move(*wal));
  }
  auto taken = database->reconcile();
  if (!taken) spdlog::warn("{}: not taken over: {}", path, taken.error().message);
}

Result<void> Database::write_back() {
  Lock lock(mutex_);
  if (!replicated_) return {};
  RILL_TRY(sync_log());
  Buffer page(content_.page_size());
  for (const auto& [pgno, frame] : scanner_.frames()) {
    RILL_TRY(read_page_below(pgno, content_.page_size(), page));
    RILL_TRY(
        file_->write_at(page, (std::uint64_t{pgno.value} - 1) * content_.page_size(), "close: write back"));
  }
  if (scanner_.header()) {
    RILL_TRY(file_->truncate(std::uint64_t{content_.page_count().value} * content_.page_size(),
                             "close: write back"));
  }
  scanner_.end();
  wal_.reset();
  file_holds_ = content_.position();
  return {};
}

Result<void> Database::close(const std::string& tree_path) {
  RILL_TRY(drain(Look::kThorough));
  const bool idle = applied_position().same_place(published());
  if (!has_unlogged_writes()) {
    failpoint::reach("close.before_write_back");
    if (environment_.primary && source() == Source::kTail) {
      RILL_TRY(remove_if_there(environment_.files, tree_path + "-wal", kRecover));
      RILL_TRY(fence_wal());
    }
    if (environment_.primary) RILL_TRY(write_back());
    failpoint::reach("close.after_write_back");
    if (idle) RILL_TRY(advance_base(true));
    bool complete = false;
    {
      Lock lock(mutex_);
      complete = file_holds_ && file_holds_->same_place(content_.position());
    }
    failpoint::reach("close.before_companions");
    if (!complete) return {};
    RILL_TRY(remove_companions(environment_.files, tree_path));
    return remove_wal_mark(environment_.files, directory());
  }
  return {};
}

}  // namespace rillfs
