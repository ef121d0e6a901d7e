// Names in the tree: looking up, making, removing, renaming.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

#include "fs/mount/tree.h"
#include "fs/sqlite/journal.h"
#include "replication/base/waiting.h"

namespace rillfs::mount {
namespace {

Error refused(const std::string& what) { return Error{ErrorCode::kReadOnly, EROFS, what}; }

/// What lies beside `name` says what counts in it: a WAL, or a hot journal.
bool has_companion_that_counts(const Node& directory, const std::string& name) {
  if (::faccessat(directory.path_fd(), (name + "-wal").c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) return true;
  const int fd =
      ::openat(directory.path_fd(), (name + "-journal").c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  std::uint8_t start[sqlite::kJournalHeaderSize];
  const bool hot = ::pread(fd, start, sizeof start, 0) == sizeof start && sqlite::is_hot_header(start);
  ::close(fd);
  return hot;
}

}  // namespace

Role companion_role(const std::string& name, std::string& base) {
  auto companion = sqlite::split_companion(name);
  if (!companion) return Role::kPlain;
  base = std::string(companion->base);
  switch (companion->kind) {
    case sqlite::Companion::kWal:
      return Role::kWal;
    case sqlite::Companion::kShm:
      return Role::kShm;
    case sqlite::Companion::kJournal:
      return Role::kJournal;
  }
  return Role::kPlain;
}

Result<std::unique_ptr<Tree>> Tree::open(Databases& databases, Passthrough& passthrough, int root_fd) {
  RILL_ASSIGN(auto nodes, NodeTable::open(root_fd));
  std::string root_path = nodes->root().backing_path();
  return std::unique_ptr<Tree>(new Tree(databases, passthrough, std::move(nodes), std::move(root_path)));
}

Result<std::shared_ptr<Node>> Tree::node(std::uint64_t id) const {
  auto found = nodes_->find(id);
  if (!found) return errno_error(ESTALE, "node " + std::to_string(id));
  return found;
}

std::string Tree::relative_path(const Node& parent, const std::string& name) const {
  std::string directory = parent.backing_path();
  if (directory.size() <= root_path_.size()) return name;
  return directory.substr(root_path_.size() + 1) + "/" + name;
}

std::shared_ptr<Database> Tree::database_at(const Node& parent, const std::string& name) {
  return databases_.find(parent.id(), name);
}

std::shared_ptr<Database> Tree::database_for_companion(const Node& parent, const std::string& base) {
  if (auto known = database_at(parent, base)) return known;
  return adopt(parent, base);
}

std::shared_ptr<Database> Tree::adopt(const Node& parent, const std::string& name) {
  auto database = databases_.adopt(parent.id(), parent.path_fd(), name, relative_path(parent, name));
  struct stat status {};
  if (database && ::fstatat(parent.path_fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    if (auto node = nodes_->find(status.st_ino)) node->bind({Role::kDatabase, database});
  }
  return database;
}

Tree::Companion Tree::companion_at(const Node& parent, const std::string& name) {
  Companion companion;
  companion.role = companion_role(name, companion.base);
  if (companion.role != Role::kPlain) companion.database = database_at(parent, companion.base);
  return companion;
}

void Tree::bind(const std::shared_ptr<Node>& node, const Node& parent, const std::string& name) {
  if (!node->is_regular()) return;
  if (auto database = database_at(parent, name)) {
    node->bind({Role::kDatabase, std::move(database)});
    return;
  }
  Companion companion = companion_at(parent, name);
  if (companion.database) {
    node->bind({companion.role, std::move(companion.database)});
  } else {
    node->bind({});
  }
}

Result<struct stat> Tree::with_database_size(const Node& node, struct stat status) const {
  auto binding = node.binding();
  if (binding.role == Role::kDatabase && !binding.database->is_dropped()) {
    RILL_ASSIGN(std::uint64_t size, binding.database->size());
    status.st_size = static_cast<off_t>(size);
  }
  return status;
}

Result<Entry> Tree::entry_of(const Node& parent, const std::string& name) {
  RILL_ASSIGN(auto found, nodes_->look_up(parent, name));
  if (found.node->is_directory()) {
    found.node->set_place({parent.id(), name});
  } else if (auto binding = found.node->binding();
             binding.role == Role::kPlain || binding.database->is_dropped()) {
    // Dropped: another database may have the base name by now, and this its companion.
    bind(found.node, parent, name);
  }
  RILL_ASSIGN(struct stat status, with_database_size(*found.node, found.status));
  return Entry{found.node->id(), status};
}

Result<Entry> Tree::look_up(std::uint64_t parent_id, const std::string& name) {
  RILL_ASSIGN(auto parent, node(parent_id));
  const bool in_root = parent_id == NodeTable::kRootId;
  if (auto id = virtual_files_.find(parent_id, in_root, name)) {
    return Entry{*id, virtual_files_.status(*id), false};
  }
  auto entry = entry_of(*parent, name);
  if (entry || entry.error().code != ErrorCode::kNotFound) return entry;
  if (VirtualFiles::could_be(in_root, name)) return entry.error();
  return Entry{};
}

void Tree::forget(std::uint64_t id, std::uint64_t count) {
  if (!VirtualFiles::is_virtual(id)) nodes_->forget(id, count);
}

Result<void> Tree::own(const Node& parent, const std::string& name, mode_t mode, const Requester& who) {
  if (::geteuid() != 0) return {};
  RILL_ASSIGN(struct stat directory, parent.status());
  // A directory with S_ISGID gives its group to what is made in it; the backing file system has done so
  // already.
  const gid_t gid = (directory.st_mode & S_ISGID) != 0 ? static_cast<gid_t>(-1) : who.gid;
  if (::fchownat(parent.path_fd(), name.c_str(), who.uid, gid, AT_SYMLINK_NOFOLLOW) < 0) {
    return errno_error(errno, "owner of " + name);
  }
  // chown takes these bits away.
  if ((mode & (S_ISUID | S_ISGID)) != 0 && ::fchmodat(parent.path_fd(), name.c_str(), mode & 07777, 0) < 0) {
    return errno_error(errno, "mode of " + name);
  }
  return {};
}

Result<Entry> Tree::make_directory(std::uint64_t parent_id, const std::string& name, mode_t mode,
                                   const Requester& who) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_TRY(databases_.require_in_service(relative_path(*parent, name)));
  if (::mkdirat(parent->path_fd(), name.c_str(), mode) < 0) return errno_error(errno, "mkdir " + name);
  parent->names_changed = true;
  RILL_TRY(own(*parent, name, 0, who));
  return entry_of(*parent, name);
}

Result<Entry> Tree::make_node(std::uint64_t parent_id, const std::string& name, mode_t mode, dev_t device,
                              const Requester& who) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_TRY(allow_creation(*parent, name, who));
  if (::mknodat(parent->path_fd(), name.c_str(), mode, device) < 0)
    return errno_error(errno, "mknod " + name);
  parent->names_changed = true;
  RILL_TRY(own(*parent, name, mode, who));
  return entry_of(*parent, name);
}

Result<Entry> Tree::make_symlink(const std::string& target, std::uint64_t parent_id, const std::string& name,
                                 const Requester& who) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_TRY(allow_creation(*parent, name, who));
  if (::symlinkat(target.c_str(), parent->path_fd(), name.c_str()) < 0)
    return errno_error(errno, "symlink " + name);
  parent->names_changed = true;
  RILL_TRY(own(*parent, name, 0, who));
  return entry_of(*parent, name);
}

Result<Entry> Tree::make_link(std::uint64_t id, std::uint64_t parent_id, const std::string& name) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_ASSIGN(auto existing, node(id));
  RILL_TRY(require_in_service(*existing));
  RILL_TRY(databases_.require_in_service(relative_path(*parent, name)));
  // Two names for one database would be two databases with one content.
  if (existing->binding().role != Role::kPlain || companion_at(*parent, name).database) {
    return errno_error(EPERM, "hard link to a database: " + name);
  }
  if (::linkat(AT_FDCWD, existing->proc_path().c_str(), parent->path_fd(), name.c_str(), AT_SYMLINK_FOLLOW) <
      0) {
    return errno_error(errno, "link " + name);
  }
  parent->names_changed = true;
  return entry_of(*parent, name);
}

Result<std::string> Tree::read_symlink(std::uint64_t id) {
  RILL_ASSIGN(auto link, node(id));
  char target[PATH_MAX];
  ssize_t n = ::readlinkat(link->path_fd(), "", target, sizeof target);
  if (n < 0) return errno_error(errno, "readlink");
  return std::string(target, static_cast<std::size_t>(n));
}

Result<void> Tree::refuse_on_replica(const Node& parent, const std::string& name, const Requester& who) {
  if (databases_.is_primary() || who.caller == Caller::kDaemon) return {};
  auto database = database_at(parent, name);
  if (!database) database = companion_at(parent, name).database;
  if (!database || !database->replicated()) return {};
  return refused(name +
                 " belongs to a replicated database, and this node is a replica: change it on the primary");
}

Result<void> Tree::take_away(Node& parent, const std::string& name, const Database::Perform& perform) {
  Companion companion = companion_at(parent, name);
  if (companion.database && (companion.role == Role::kWal || companion.role == Role::kJournal)) {
    RILL_TRY(companion.role == Role::kWal ? companion.database->remove_wal(perform)
                                          : companion.database->remove_journal(perform));
    if (companion.database->has_unlogged_writes()) databases_.reconcile_soon(companion.database);
    return {};
  }
  if (databases_.is_primary() && sqlite::is_super_journal_name(name))
    return databases_.commit_attached(relative_path(parent, name), perform);
  auto database = companion.database ? nullptr : database_at(parent, name);
  RILL_TRY(perform());
  if (database) databases_.drop(parent.id(), name);
  return {};
}

Result<void> Tree::unlink(std::uint64_t parent_id, const std::string& name, const Requester& who) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_TRY(require_in_service(*parent, name));
  RILL_TRY(refuse_on_replica(*parent, name, who));
  const bool companion = companion_at(*parent, name).database != nullptr;
  auto perform = [&]() -> Result<void> {
    if (::unlinkat(parent->path_fd(), name.c_str(), 0) < 0) return errno_error(errno, "unlink " + name);
    return {};
  };
  RILL_TRY(take_away(*parent, name, perform));
  if (!companion) parent->names_changed = true;
  return {};
}

Result<void> Tree::remove_directory(std::uint64_t parent_id, const std::string& name) {
  RILL_ASSIGN(auto parent, node(parent_id));
  if (::unlinkat(parent->path_fd(), name.c_str(), AT_REMOVEDIR) < 0)
    return errno_error(errno, "rmdir " + name);
  parent->names_changed = true;
  return {};
}

Result<void> Tree::refuse_exchange(const Node& parent, const std::string& name, const Node& new_parent,
                                   const std::string& new_name) {
  auto holds_databases = [&](const Node& directory, const std::string& entry) {
    return database_at(directory, entry) || companion_at(directory, entry).database ||
           !databases_.placed_below(relative_path(directory, entry)).empty();
  };
  if (!holds_databases(parent, name) && !holds_databases(new_parent, new_name)) return {};
  return errno_error(EINVAL, "exchange of names that databases have: " + name + " and " + new_name);
}

Result<void> Tree::rename(std::uint64_t parent_id, const std::string& name, std::uint64_t new_parent_id,
                          const std::string& new_name, unsigned flags, const Requester& who) {
  Lock lock(renames_);
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_ASSIGN(auto new_parent, node(new_parent_id));
  RILL_TRY(refuse_on_replica(*parent, name, who));
  RILL_TRY(refuse_on_replica(*new_parent, new_name, who));
  const std::string path = relative_path(*parent, name);
  RILL_TRY(databases_.require_in_service(path, true));
  RILL_TRY(databases_.require_in_service(relative_path(*new_parent, new_name), true));
  if (!databases_.is_primary() && who.caller == Caller::kApplication && databases_.any_below(path)) {
    return refused(name +
                   " holds replicated databases, and this node is a replica: rename it on the primary");
  }
  const bool exchange = (flags & RENAME_EXCHANGE) != 0;
  if (exchange) RILL_TRY(refuse_exchange(*parent, name, *new_parent, new_name));
  struct stat status {};
  if (::fstatat(parent->path_fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) {
    return errno_error(errno, "rename " + name);
  }
  auto in_tree = [&]() -> Result<void> {
    if (::renameat2(parent->path_fd(), name.c_str(), new_parent->path_fd(), new_name.c_str(), flags) < 0) {
      return errno_error(errno, "rename " + name + " to " + new_name);
    }
    return {};
  };
  Companion companion = companion_at(*parent, name);
  auto database = companion.database ? nullptr : database_at(*parent, name);
  auto perform = [&]() -> Result<void> {
    if (database) RILL_TRY(database->drain(Database::Look::kThorough));
    if (companion.database && companion.role == Role::kWal) return companion.database->remove_wal(in_tree);
    if (companion.database && companion.role == Role::kJournal)
      return companion.database->remove_journal(in_tree);
    return in_tree();
  };
  if (exchange) {
    RILL_TRY(perform());
  } else {
    const auto brought =
        databases_.is_primary() ? brought_by_rename(*new_parent, new_name, database) : nullptr;
    if (brought) {
      // Marked first: a crash in between must not take what lies beside it for something that has done its
      // work.
      brought->content_arrives();
      databases_.reconcile_soon(brought);
    }
    RILL_TRY(databases_.rename({{parent->id(), name},
                                {new_parent->id(), new_name},
                                path,
                                relative_path(*new_parent, new_name),
                                status.st_ino,
                                S_ISDIR(status.st_mode)},
                               perform));
  }
  parent->names_changed = true;
  new_parent->names_changed = true;
  if (!exchange) moved(*new_parent, new_name);
  return {};
}

std::shared_ptr<Database> Tree::brought_by_rename(const Node& parent, const std::string& name,
                                                  const std::shared_ptr<Database>& moved) {
  std::string base;
  const Role role = companion_role(name, base);
  if (role == Role::kWal || role == Role::kJournal) return database_at(parent, base);
  return role == Role::kPlain && moved && has_companion_that_counts(parent, name) ? moved : nullptr;
}

void Tree::take_over_moved(Node& parent, const std::string& name) {
  // A WAL or a hot journal that arrives says what counts in the file, and so may one that lies there already.
  std::string base;
  const Role role = companion_role(name, base);
  std::shared_ptr<Database> database;
  std::shared_ptr<File> wal;
  if (role == Role::kWal) {
    database = database_for_companion(parent, base);
    const int fd = database ? ::openat(parent.path_fd(), name.c_str(), O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) wal = adopt_file(fd, name);
  } else if (role == Role::kJournal) {
    database = database_for_companion(parent, base);
  } else if (role == Role::kPlain && has_companion_that_counts(parent, name)) {
    database = database_at(parent, name);
  }
  if (!database) return;
  database->content_arrived(std::move(wal));
  databases_.reconcile_soon(database);
}

void Tree::moved(Node& new_parent, const std::string& new_name) {
  struct stat status {};
  if (::fstatat(new_parent.path_fd(), new_name.c_str(), &status, AT_SYMLINK_NOFOLLOW) < 0) return;
  auto node = nodes_->find(status.st_ino);
  if (node) node->set_place({new_parent.id(), new_name});
  if (S_ISDIR(status.st_mode)) return;
  if (databases_.is_primary()) take_over_moved(new_parent, new_name);
  if (node) bind(node, new_parent, new_name);
}

Result<void> Tree::sync_directory(std::uint64_t id) {
  RILL_ASSIGN(auto directory, node(id));
  // The log makes databases durable; only other names need the directory itself on disk.
  if (!directory->names_changed.exchange(false)) return {};
  int fd = ::open(directory->proc_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "fsync of a directory");
  about_to_wait();
  int error = ::fsync(fd) < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return errno_error(error, "fsync of a directory");
  return {};
}

Result<struct statvfs> Tree::file_system_status(std::uint64_t) {
  struct statvfs status {};
  if (::statvfs(root_path_.c_str(), &status) < 0) return errno_error(errno, "statfs");
  return status;
}

Result<int> Tree::open_directory(std::uint64_t id) {
  RILL_ASSIGN(auto directory, node(id));
  int fd = ::open(directory->proc_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "open a directory");
  return fd;
}

}  // namespace rillfs::mount
