// Files in the tree: attributes, opening, reading, writing.
#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "fs/mount/tree.h"
#include "fs/sqlite/database_header.h"

namespace rillfs::mount {
namespace {

bool wants_to_write(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

Error refused(int errno_value, std::string what) {
  return Error{ErrorCode::kReadOnly, errno_value, std::move(what)};
}

/// A write that puts SQLite's magic at the start of a file makes a database of it.
bool begins_with_magic(Bytes bytes, std::uint64_t offset) {
  return offset == 0 && sqlite::has_database_magic(bytes);
}

}  // namespace

bool Tree::wants_flush(Role role) const {
  switch (role) {
    case Role::kShm:
    case Role::kPlain:
      // A writer may have died before it published its last commit. A plain file may become a wal-index.
      return true;
    case Role::kDatabase:
    case Role::kWal:
      // The same where there is no wal-index, and nobody has seen the commit yet.
      return databases_.is_primary() && passthrough_.possible();
    case Role::kJournal:
      return false;  // is closed in every transaction
  }
  return true;
}

Passthrough* Tree::passthrough_for(const Node::Binding& binding) {
  const bool wanted = binding.role == Role::kWal && databases_.is_primary() && passthrough_.possible();
  return wanted && binding.database->may_be_followed() ? &passthrough_ : nullptr;
}

Result<void> Tree::choose_source(Node& wal, Database& database, const std::shared_ptr<File>& io) {
  if (!databases_.is_primary()) return {};
  if (wal.backing() == 0) {
    auto begun = database.begin_hold();
    if (!begun) wal.close();
    return begun;
  }
  database.begin_tail(io);
  databases_.follow(database, wal.id(), wal.proc_path());
  return {};
}

Result<struct stat> Tree::attributes(std::uint64_t id) {
  if (VirtualFiles::is_virtual(id)) return virtual_files_.status(id);
  RILL_ASSIGN(auto found, node(id));
  RILL_ASSIGN(struct stat status, found->status());
  return with_database_size(*found, status);
}

Result<void> Tree::resize(Node& node, std::uint64_t size, Caller caller) {
  auto binding = node.binding();
  auto io = node.io();
  const bool borrowed = io == nullptr;
  if (borrowed) {  // truncate(2) by name
    RILL_ASSIGN(io, node.open());
  }
  auto change = [&]() -> Result<void> {
    RILL_TRY(require_in_service(node));
    switch (binding.role) {
      case Role::kDatabase:
        return binding.database->resize(size, caller);
      case Role::kWal:
        return binding.database->resize_wal(io, size, caller);
      case Role::kJournal:
        RILL_TRY(binding.database->resize_journal(io, size));
        if (binding.database->has_unlogged_writes()) databases_.reconcile_soon(binding.database);
        return {};
      case Role::kShm:
        // The daemon has the wal-index mapped; SQLite itself never shrinks it while anybody has it open.
        if (!databases_.is_primary() && caller == Caller::kApplication &&
            databases_.is_warm(*binding.database)) {
          return refused(EACCES, "the wal-index is in use by the replica");
        }
        return io->truncate(size, "truncate wal-index");
      case Role::kPlain:
        return io->truncate(size, "truncate");
    }
    return {};
  };
  auto result = change();
  if (borrowed) node.close();
  return result;
}

Result<struct stat> Tree::set_attributes(std::uint64_t id, const AttributeChange& change,
                                         const Requester& who) {
  if (VirtualFiles::is_virtual(id)) return refused(EACCES, "a virtual file is read-only");
  RILL_ASSIGN(auto found, node(id));
  const std::string path = found->proc_path();
  if (change.mode && ::chmod(path.c_str(), *change.mode & 07777) < 0) return errno_error(errno, "chmod");
  if (change.uid || change.gid) {
    const uid_t uid = change.uid.value_or(static_cast<uid_t>(-1));
    const gid_t gid = change.gid.value_or(static_cast<gid_t>(-1));
    if (::fchownat(found->path_fd(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0) {
      return errno_error(errno, "chown");
    }
  }
  if (change.size) RILL_TRY(resize(*found, *change.size, who.caller));
  if (change.accessed.tv_nsec != UTIME_OMIT || change.modified.tv_nsec != UTIME_OMIT) {
    const struct timespec times[2] = {change.accessed, change.modified};
    // A symbolic link has no other way in than its place; the other kinds are reached by their number.
    const bool link = !found->is_directory() && !found->is_regular();
    auto place = found->place();
    auto parent = link ? nodes_->find(place.parent) : nullptr;
    const int failed = parent ? ::utimensat(parent->path_fd(), place.name.c_str(), times, AT_SYMLINK_NOFOLLOW)
                              : ::utimensat(AT_FDCWD, path.c_str(), times, 0);
    if (failed != 0) return errno_error(errno, "utimens");
  }
  RILL_ASSIGN(struct stat status, found->status());
  auto binding = found->binding();
  const bool attributes = change.mode || change.uid || change.gid;
  if (attributes && binding.role == Role::kDatabase && databases_.is_primary()) {
    RILL_TRY(binding.database->set_attributes(status.st_mode & 07777, status.st_uid, status.st_gid));
  }
  return with_database_size(*found, status);
}

Result<void> Tree::require_in_service(const Node& node) const {
  if (databases_.out_of_service().empty() || !node.is_regular()) return {};
  const std::string path = node.backing_path();
  return path.size() <= root_path_.size() ? Result<void>()
                                          : databases_.require_in_service(path.substr(root_path_.size() + 1));
}

Result<void> Tree::require_in_service(const Node& parent, const std::string& name) const {
  // Asked for each journal: the path costs a system call.
  if (databases_.out_of_service().empty()) return {};
  return databases_.require_in_service(relative_path(parent, name));
}

Result<void> Tree::allow_creation(const Node& parent, const std::string& name, const Requester& who) {
  RILL_TRY(require_in_service(parent, name));
  if (databases_.is_primary() || who.caller == Caller::kDaemon) return {};
  std::string base;
  const Role role = companion_role(name, base);
  if (role == Role::kPlain) return {};
  auto database = database_at(parent, base);
  if (database && database->replicated()) {
    if (role == Role::kShm) return {};  // readers build the wal-index
    return refused(EACCES, "writes go to the primary: this node is a replica");
  }
  // A journal or WAL beside an empty file, or a database of this node alone, is a database in the making.
  if (databases_.could_be_database(parent.path_fd(), base)) {
    return refused(EROFS, "databases are created on the primary: this node is a replica");
  }
  return {};
}

Result<Entry> Tree::create(std::uint64_t parent_id, const std::string& name, mode_t mode, int flags,
                           const Requester& who) {
  RILL_ASSIGN(auto parent, node(parent_id));
  RILL_TRY(allow_creation(*parent, name, who));
  if (who.caller == Caller::kDaemon) {
    // The daemon's own create of an expected name puts the prepared file there.
    RILL_ASSIGN(bool installed, databases_.install_prepared(parent->id(), parent->path_fd(), name,
                                                            relative_path(*parent, name)));
    std::string base;
    // Otherwise it makes journals and the like only: what it wanted to put there was dropped meanwhile.
    if (!installed && companion_role(name, base) == Role::kPlain)
      return refused(ENOENT, "no database " + name);
  }
  const int open_flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | (flags & O_EXCL);
  const int fd = ::openat(parent->path_fd(), name.c_str(),
                          who.caller == Caller::kDaemon ? open_flags & ~O_EXCL : open_flags, mode);
  if (fd < 0) return errno_error(errno, "create " + name);
  auto file = adopt_file(fd, name);
  const bool companion = companion_at(*parent, name).database != nullptr;
  if (who.caller == Caller::kApplication) RILL_TRY(own(*parent, name, mode, who));
  std::string base;
  const Role role = companion_role(name, base);
  if ((role == Role::kWal || role == Role::kJournal) && databases_.is_primary())
    database_for_companion(*parent, base);
  if (!companion) parent->names_changed = true;
  RILL_ASSIGN(Entry entry, entry_of(*parent, name));
  RILL_ASSIGN(auto made, node(entry.id));
  auto binding = made->binding();
  RILL_ASSIGN(auto io, made->open(std::move(file), passthrough_for(binding)));
  if (binding.role == Role::kWal) {
    RILL_TRY(choose_source(*made, *binding.database, io));
  }
  if (binding.role == Role::kJournal && who.caller == Caller::kApplication) made->uncached = true;
  entry.opened = {made->uncached, wants_flush(binding.role), false, made->backing()};
  if (binding.role == Role::kDatabase && who.caller == Caller::kApplication)
    binding.database->application_opened();
  return entry;
}

Result<void> Tree::allow_open(const Node::Binding& binding, int flags, const Requester& who) const {
  if (databases_.is_primary() || who.caller == Caller::kDaemon || !wants_to_write(flags)) return {};
  if (!binding.database || !binding.database->replicated()) return {};
  switch (binding.role) {
    case Role::kWal:
      if (databases_.is_candidate()) return {};  // the daemon holds WAL_WRITE_LOCK: writers get SQLITE_BUSY
      return refused(EACCES, "writes go to the primary: this node is a replica");
    case Role::kJournal:
      return refused(EACCES, "writes go to the primary: this node is a replica");
    case Role::kDatabase:
      // In WAL mode it is opened for writing by every reader, and written by checkpoints only.
      if (binding.database->wal_mode() || databases_.is_candidate()) return {};
      return refused(EACCES, "writes go to the primary: this node is a replica");
    case Role::kShm:
    case Role::kPlain:
      return {};
  }
  return {};
}

void Tree::open_file(std::uint64_t id, int flags, const Requester& who,
                     std::function<void(Result<Opened>)> done) {
  if (VirtualFiles::is_virtual(id)) {
    if (wants_to_write(flags)) return done(refused(EACCES, "a virtual file is read-only"));
    return done(Opened{true});
  }
  auto found = node(id);
  if (!found) return done(found.error());
  std::shared_ptr<Node> file = *found;
  if (auto usable = require_in_service(*file); !usable) return done(usable.error());
  // A companion that was looked up before its database was one, or when the name had another database.
  const auto before = file->binding();
  if (file->is_regular() &&
      (before.role == Role::kPlain || (before.role != Role::kDatabase && before.database->is_dropped()))) {
    auto place = file->place();
    std::string base;
    const Role role = companion_role(place.name, base);
    auto parent = role == Role::kWal || role == Role::kJournal ? nodes_->find(place.parent) : nullptr;
    if (parent && databases_.is_primary()) database_for_companion(*parent, base);
    if (auto directory = nodes_->find(place.parent)) bind(file, *directory, place.name);
  }
  const auto binding = file->binding();
  if (auto allowed = allow_open(binding, flags, who); !allowed) return done(allowed.error());
  const bool first = file->io() == nullptr;
  auto opened = file->open(nullptr, passthrough_for(binding));
  if (!opened) return done(opened.error());
  Opened answer{file->uncached, wants_flush(binding.role), file->was_passed_through(), file->backing()};
  if (first && binding.role == Role::kWal && who.caller == Caller::kApplication) {
    auto captured = binding.database->capture_left_behind();
    auto mended = captured ? binding.database->mend_wal(**opened) : captured.error();
    // With tail they may be in the log later; until then the WAL stays as it is.
    const bool later = !captured && answer.backing != 0;
    if (later) mended = false;
    if (!mended) {
      file->close();
      return done(mended.error());
    }
    answer.is_changed |= *mended;
  }
  if (binding.role == Role::kWal) {
    if (auto chosen = choose_source(*file, *binding.database, *opened); !chosen) return done(chosen.error());
  }
  if (binding.role != Role::kDatabase || who.caller == Caller::kDaemon) return done(answer);
  binding.database->application_opened();
  databases_.prepare_for_readers(binding.database, [done = std::move(done), answer] { done(answer); });
}

Result<std::size_t> Tree::read(std::uint64_t id, MutableBytes into, std::uint64_t offset, Caller caller) {
  if (VirtualFiles::is_virtual(id)) {
    auto content = virtual_files_.content(id);
    if (!content) return errno_error(ESTALE, "the virtual file is gone");
    if (offset >= content->size()) return std::size_t{0};
    const std::size_t n = std::min<std::size_t>(into.size(), content->size() - offset);
    std::memcpy(into.data(), content->data() + offset, n);
    return n;
  }
  RILL_ASSIGN(auto found, node(id));
  auto binding = found->binding();
  if (binding.role == Role::kDatabase) return binding.database->read(into, offset, caller);
  auto io = found->io();
  if (!io) return errno_error(EBADF, "read of a file that is not open");
  return io->read_at(into, offset, "read");
}

Result<void> Tree::write_plain(Node& node, File& file, Bytes bytes, std::uint64_t offset, Caller caller) {
  if (!begins_with_magic(bytes, offset) || caller == Caller::kDaemon)
    return file.write_at(bytes, offset, "write");
  auto place = node.place();
  auto parent = nodes_->find(place.parent);
  std::string base;
  if (!parent || companion_role(place.name, base) != Role::kPlain)
    return file.write_at(bytes, offset, "write");
  if (!databases_.is_primary()) {
    return refused(EROFS, "databases are created on the primary: this node is a replica");
  }
  RILL_TRY(file.write_at(bytes, offset, "write"));
  if (auto database = adopt(*parent, place.name)) {
    database->content_arrived(nullptr);
    databases_.reconcile_soon(database);
  }
  return {};
}

Result<void> Tree::write(std::uint64_t id, Bytes bytes, std::uint64_t offset, Caller caller) {
  RILL_ASSIGN(auto found, node(id));
  auto binding = found->binding();
  if (binding.role == Role::kDatabase) {
    RILL_TRY(binding.database->write(bytes, offset, caller));
    if (binding.database->has_unlogged_writes()) databases_.reconcile_soon(binding.database);
    return {};
  }
  auto io = found->io();
  if (!io) return errno_error(EBADF, "write to a file that is not open");
  switch (binding.role) {
    case Role::kWal:
      return binding.database->write_wal(io, bytes, offset, caller);
    case Role::kJournal:
      RILL_TRY(binding.database->write_journal(io, bytes, offset));
      if (binding.database->has_unlogged_writes()) databases_.reconcile_soon(binding.database);
      return {};
    default:
      return write_plain(*found, *io, bytes, offset, caller);
  }
}

Result<void> Tree::allocate(std::uint64_t id, int mode, std::uint64_t offset, std::uint64_t length,
                            Caller caller) {
  RILL_ASSIGN(auto found, node(id));
  auto binding = found->binding();
  if (binding.role == Role::kDatabase) {
    // Only growing: a hole or a shift in a database would be a change that no journal knows.
    if (mode != 0) return errno_error(EOPNOTSUPP, "fallocate of a database");
    RILL_ASSIGN(std::uint64_t size, binding.database->size());
    if (offset + length <= size) return {};
    return binding.database->resize(offset + length, caller);
  }
  if (binding.role == Role::kWal && mode != 0) return errno_error(EOPNOTSUPP, "fallocate of a WAL");
  int fd = ::open(found->proc_path().c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "fallocate");
  int error = ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length)) < 0 ? errno : 0;
  ::close(fd);
  if (error != 0) return errno_error(error, "fallocate");
  return {};
}

Result<void> Tree::sync_wal(Database& database, const Requester& who) {
  auto synced = database.sync_wal();
  if (!synced && synced.error().code == ErrorCode::kNoSpace && database.source() == Database::Source::kTail) {
    RILL_TRY(databases_.refuse_commit(database, who.thread, synced.error()));
    synced = database.sync_wal();
  }
  if (database.has_unlogged_writes()) databases_.reconcile_soon(database.shared_from_this());
  return synced;
}

Result<void> Tree::sync(std::uint64_t id, const Requester& who) {
  if (VirtualFiles::is_virtual(id)) return {};
  RILL_ASSIGN(auto found, node(id));
  auto binding = found->binding();
  switch (binding.role) {
    case Role::kDatabase: {
      auto synced = binding.database->sync();
      if (binding.database->has_unlogged_writes()) databases_.reconcile_soon(binding.database);
      return synced;
    }
    case Role::kWal:
      return sync_wal(*binding.database, who);
    case Role::kJournal:
      if (binding.database->sync_journal()) return {};
      break;
    case Role::kShm:
      return {};
    case Role::kPlain:
      break;
  }
  auto io = found->io();
  if (!io) return errno_error(EBADF, "fsync of a file that is not open");
  return io->sync_data("fsync");
}

void Tree::flush(std::uint64_t id, Caller caller, std::function<void(Result<void>)> done) {
  auto found = VirtualFiles::is_virtual(id) ? nullptr : nodes_->find(id);
  if (!found || caller == Caller::kDaemon || !databases_.is_primary()) return done({});
  auto binding = found->binding();
  if (binding.role == Role::kDatabase || binding.role == Role::kWal) {
    if (auto drained = binding.database->drain(Database::Look::kThorough); !drained)
      spdlog::error("{}: {}", binding.database->path(), drained.error().message);
    return done({});
  }
  auto io = binding.role == Role::kShm ? found->io() : nullptr;
  if (!io) return done({});
  if (auto captured = binding.database->capture_left_behind(); !captured) {
    spdlog::error("{}: the last commit of a process that has ended is not in the log: {}",
                  binding.database->path(), captured.error().message);
  }
  if (binding.database->wal_index_is_behind(*io)) {
    return databases_.invalidate_wal_index(binding.database, [done = std::move(done)] { done({}); });
  }
  done({});
}

void Tree::release(std::uint64_t id, Caller caller) {
  auto found = VirtualFiles::is_virtual(id) ? nullptr : nodes_->find(id);
  if (!found) return;
  found->close();
  auto binding = found->binding();
  if (binding.role == Role::kWal && !found->io()) databases_.unfollow(id);
  if (binding.role != Role::kDatabase || caller == Caller::kDaemon) return;
  const int left = binding.database->application_closed();
  if (binding.database->has_unlogged_writes()) databases_.reconcile_soon(binding.database);
  if (left == 0) databases_.readers_left(binding.database);
}

}  // namespace rillfs::mount
