// Transactions over several databases that an application has attached, with rollback journals: all of them
// commit or none.
//
// The commit, top to bottom: the application unlinks the super-journal; before that is done, the record
// (attached_record.h), then the change set of every database whose journal names it, appended and synced; the
// unlink itself, durable; from then on every database shows its change set; the record goes. What SQLite does
// afterwards, deleting the journals one by one, finds nothing to commit.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "fs/databases.h"
#include "replication/base/failpoint.h"

namespace rillfs {
namespace {
constexpr Label kCommit = "transaction: super-journal";

std::string name_in(const std::string& path) { return path.substr(path.rfind('/') + 1); }
}  // namespace

std::vector<std::shared_ptr<Database>> Databases::members_of(const std::string& super_journal) const {
  std::vector<std::shared_ptr<Database>> members;
  {
    Lock lock(mutex_);
    for (const auto& [place, database] : by_place_) members.push_back(database);
  }
  std::erase_if(members, [&](const auto& one) { return !one->is_part_of(super_journal); });
  return members;
}

Result<void> Databases::commit_attached(const std::string& super_journal, const Database::Perform& unlink) {
  Lock one_at_a_time(attached_mutex_);
  const auto members = members_of(name_in(super_journal));
  // One alone commits when its journal goes.
  if (members.size() < 2) return unlink();
  FileSystem& files = environment_.files;
  const std::string directory = environment_.databases_directory();
  AttachedRecord record{super_journal, {}};
  for (const auto& one : members) record.databases.emplace_back(one->reserve_id(), one->published().txid);
  failpoint::reach("attached.before_record");
  RILL_TRY(save_attached_record(files, directory, record));
  failpoint::reach("attached.after_record");
  Result<void> done;
  for (const auto& one : members) {
    if (done) done = one->prepare_commit();
    failpoint::reach("attached.between_members");
  }
  failpoint::reach("attached.before_unlink");
  if (done) done = unlink();
  failpoint::reach("attached.after_unlink");
  if (!done) {
    for (const auto& one : members) one->revoke_commit();
  } else if (auto synced =
                 files.sync_directory(environment_.tree_directory() + parent_of(super_journal), kCommit);
             !synced) {
    // It is done, and cannot be undone; only a power cut now would.
    spdlog::error("{}: its removal may not be on disk: {}", super_journal, synced.error().message);
  }
  if (done) {
    for (const auto& one : members) {
      one->finish_commit();
      failpoint::reach("attached.between_finishes");
    }
  }
  failpoint::reach("attached.before_removal");
  if (auto removed = remove_attached_record(files, directory); !removed)
    spdlog::error("{}: {}", super_journal, removed.error().message);
  return done;
}

Result<void> Databases::begin_settling_attached() {
  RILL_ASSIGN(attached_, load_attached_record(environment_.files, environment_.databases_directory()));
  if (!attached_) return {};
  RILL_ASSIGN(bool undecided, environment_.files.exists(
                                  environment_.tree_directory() + "/" + attached_->super_journal, kCommit));
  if (!undecided) attached_->databases.clear();
  return {};
}

Result<void> Databases::take_back_undecided(log::Log& log, DatabaseId id, const std::string& path) const {
  if (!attached_) return {};
  for (const auto& [member, before] : attached_->databases) {
    if (member != id || log.end().position.txid != before.next()) continue;
    spdlog::info("{}: a transaction over several databases was not committed; {} is taken back", path,
                 to_text(log.end().position));
    failpoint::reach("recovery.before_take_back");
    RILL_TRY(log.cut_last());
    RILL_TRY(log.sync());
    failpoint::reach("recovery.after_take_back");
  }
  return {};
}

Result<void> Databases::end_settling_attached() {
  if (!attached_) return {};
  FileSystem& files = environment_.files;
  const bool taken_back = !attached_->databases.empty();
  RILL_TRY(remove_attached_record(files, environment_.databases_directory()));
  // The journals that named it are gone.
  if (taken_back)
    RILL_TRY(remove_if_there(files, environment_.tree_directory() + "/" + attached_->super_journal, kCommit));
  attached_.reset();
  return {};
}

}  // namespace rillfs
