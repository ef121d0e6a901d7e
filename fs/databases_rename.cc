// Renames in the tree, and what they mean for databases.
//
// In order: the record, durable; the rename itself; what memory says; the directories, durable; info.json of
// every database that moved; dbs/<id> of the one that was replaced goes; the record goes. Whoever dies
// between two steps leaves the record, and the next start does what is left (settle_rename).
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <cerrno>

#include "fs/database_info.h"
#include "fs/databases.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {

constexpr Label kRename = "rename";
constexpr Label kSettle = "recovery: settle rename";

/// Before info.json says so, the tree has to, also after a power cut.
Result<void> sync_names(FileSystem& files, const std::string& tree, const RenameRecord& record, Label label) {
  const std::string to = tree + parent_of(record.to), from = tree + parent_of(record.from);
  for (const std::string& directory : from == to ? std::vector{to} : std::vector{to, from}) {
    auto synced = files.sync_directory(directory, label);
    if (!synced && synced.error().code != ErrorCode::kNotFound) return synced;
  }
  return {};
}

/// info.json of a database that the record names; nothing if the database is gone, or was never complete.
Result<std::optional<stream::DatabaseInfo>> info_of(Environment& environment, DatabaseId id) {
  auto info = load_database_info(environment.files, environment.database_directory(id), id);
  if (info) return std::optional(std::move(*info));
  const ErrorCode code = info.error().code;
  // A damaged one is reported when the database itself is recovered.
  if (code == ErrorCode::kNotFound || code == ErrorCode::kCorrupt)
    return std::optional<stream::DatabaseInfo>();
  return std::move(info).error();
}

Result<void> settle_moved(Environment& environment, DatabaseId id, const std::string& from,
                          const std::string& to) {
  RILL_ASSIGN(auto info, info_of(environment, id));
  auto path = info ? renamed_path(info->path, from, to) : std::nullopt;
  if (!path) return {};
  info->path = *path;
  return save_database_info(environment.files, environment.database_directory(id), *info);
}

}  // namespace

Result<RenameRecord> Databases::record_of(const Rename& rename) {
  struct stat root {};
  const std::string tree = environment_.tree_directory();
  if (::stat(tree.c_str(), &root) < 0) return errno_error(errno, tree);
  RenameRecord record{rename.path, rename.new_path, rename.inode, root.st_ino, {}, {}};
  for (const auto& database : databases_at(rename)) record.moved.push_back(database->reserve_id());
  if (auto replaced = find(rename.to.first, rename.to.second)) record.replaced = replaced->reserve_id();
  return record;
}

Result<void> Databases::rename(const Rename& rename, const Database::Perform& perform) {
  RILL_TRY(finish_rename());
  RILL_ASSIGN(RenameRecord record, record_of(rename));
  const bool noted = !record.moved.empty() || record.replaced;
  const std::string directory = environment_.databases_directory();
  failpoint::reach("rename.before_record");
  auto performed = noted ? save_rename_record(environment_.files, directory, record) : Result<void>();
  failpoint::reach("rename.before_rename");
  if (performed) performed = perform();
  if (!performed) {
    // What is left of it would speak of a rename that was never made.
    auto removed = noted ? remove_rename_record(environment_.files, directory) : Result<void>();
    if (!removed) spdlog::error("{}: {}", rename.path, removed.error().message);
    return performed;
  }
  // A database may have come to be at the name meanwhile.
  if (!noted && databases_at(rename).empty() && !find(rename.to.first, rename.to.second)) return {};
  failpoint::reach("rename.after_rename");
  move_in_memory(rename, std::move(record));
  if (auto finished = finish_rename(); !finished) {
    spdlog::error(
        "{}: its new name could not be recorded: {}. The next rename tries again, and so does the next start",
        rename.new_path, finished.error().message);
  }
  return {};
}

std::vector<std::shared_ptr<Database>> Databases::databases_at(const Rename& rename) const {
  if (rename.is_directory) return placed_below(rename.path);
  auto database = find(rename.from.first, rename.from.second);
  return database ? std::vector{database} : std::vector<std::shared_ptr<Database>>{};
}

void Databases::move_in_memory(const Rename& rename, RenameRecord record) {
  unfinished_.emplace(UnfinishedRename{std::move(record), databases_at(rename), nullptr});
  unfinished_->replaced = take_out(rename.to);
  if (!rename.is_directory) {
    Lock lock(mutex_);
    if (auto node = by_place_.extract(rename.from)) {
      node.key() = rename.to;
      by_place_.insert(std::move(node));
    }
  }
  for (const auto& database : unfinished_->moved) {
    if (auto path = renamed_path(database->path(), rename.path, rename.new_path)) database->set_path(*path);
  }
}

Result<void> Databases::finish_rename() {
  if (!unfinished_) return {};
  RILL_TRY(sync_names(environment_.files, environment_.tree_directory(), unfinished_->record, kRename));
  failpoint::reach("rename.after_names");
  for (const auto& database : unfinished_->moved) RILL_TRY(database->save());
  failpoint::reach("rename.after_info");
  if (unfinished_->replaced) {
    RILL_TRY(unfinished_->replaced->remove_directory());
    RILL_TRY(environment_.files.sync_directory(environment_.databases_directory(), kRename));
  }
  failpoint::reach("rename.after_replaced");
  RILL_TRY(remove_rename_record(environment_.files, environment_.databases_directory()));
  unfinished_.reset();
  return {};
}

Result<void> Databases::settle_rename() {
  FileSystem& files = environment_.files;
  const std::string directory = environment_.databases_directory(), tree = environment_.tree_directory();
  RILL_ASSIGN(auto record, load_rename_record(files, directory));
  if (!record) return remove_rename_record(files, directory);
  RILL_ASSIGN(RenameOutcome outcome, rename_outcome(tree, *record));
  const bool made = outcome == RenameOutcome::kMade;
  if (outcome != RenameOutcome::kUnknown) {
    RILL_TRY(sync_names(files, tree, *record, kSettle));
    for (DatabaseId id : record->moved) {
      RILL_TRY(made ? settle_moved(environment_, id, record->from, record->to)
                    : settle_moved(environment_, id, record->to, record->from));
    }
  }
  if (made && record->replaced) {
    RILL_ASSIGN(auto info, info_of(environment_, *record->replaced));
    if (info && info->path == record->to) {
      RILL_TRY(remove_database_directory(environment_, *record->replaced));
      RILL_TRY(files.sync_directory(directory, kSettle));
    }
  }
  spdlog::info("{}: its rename to {} was under way when the node stopped; it {}", record->from, record->to,
               made ? "was made" : "was not made, or is long done");
  return remove_rename_record(files, directory);
}

}  // namespace rillfs
