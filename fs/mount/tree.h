// The mount's namespace: names, files and directories as applications see them, without anything of FUSE.
//
// The tree lies in a directory of the data directory, name for name; databases and their companions are
// ordinary files there. What an operation means beyond the file system's own meaning (a commit, a refusal on
// a replica, a new replicated database) is decided here and done by Database and Databases. `requests.cc`
// turns kernel requests into these calls and their results into replies.
#pragma once

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/database.h"
#include "fs/databases.h"
#include "fs/mount/node_table.h"
#include "fs/mount/passthrough.h"
#include "fs/mount/virtual_files.h"
#include "replication/base/error.h"
#include "replication/base/mutex.h"

namespace rillfs::mount {

/// Who sent a request.
struct Requester {
  Caller caller = Caller::kApplication;
  pid_t thread = 0;  ///< 0: in a pid namespace that we cannot see
  uid_t uid = 0;
  gid_t gid = 0;
};

/// How the kernel is to use a handle.
struct Opened {
  bool uncached = false;    ///< its reads and writes go past the kernel's cache
  bool wants_flush = true;  ///< closing a descriptor is to be reported
  bool is_changed = false;  ///< what the kernel has cached of it is no longer so
  BackingId backing = 0;    ///< the kernel reads and writes this file itself; 0: it asks us
};

/// What a name leads to. `id` 0: nothing, and the kernel may remember that.
struct Entry {
  std::uint64_t id = 0;
  struct stat status {};
  bool cacheable = true;  ///< the kernel may keep name and attributes until it is told otherwise
  Opened opened;          ///< of a created file
};

/// Which attributes to change; absent ones stay.
struct AttributeChange {
  std::optional<mode_t> mode;
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<std::uint64_t> size;
  struct timespec accessed {
    0, UTIME_OMIT
  };
  struct timespec modified {
    0, UTIME_OMIT
  };
};

/// Threads: any of descriptor table 0.
class Tree {
 public:
  /// `root_fd`: O_PATH descriptor of the tree's root; taken over.
  static Result<std::unique_ptr<Tree>> open(Databases& databases, Passthrough& passthrough, int root_fd);

  // --- names (tree_names.cc) ---
  Result<Entry> look_up(std::uint64_t parent, const std::string& name);
  void forget(std::uint64_t id, std::uint64_t count);
  Result<Entry> make_directory(std::uint64_t parent, const std::string& name, mode_t mode,
                               const Requester& who);
  Result<Entry> make_node(std::uint64_t parent, const std::string& name, mode_t mode, dev_t device,
                          const Requester& who);
  Result<Entry> make_symlink(const std::string& target, std::uint64_t parent, const std::string& name,
                             const Requester& who);
  Result<Entry> make_link(std::uint64_t id, std::uint64_t parent, const std::string& name);
  Result<std::string> read_symlink(std::uint64_t id);
  Result<void> unlink(std::uint64_t parent, const std::string& name, const Requester& who);
  Result<void> remove_directory(std::uint64_t parent, const std::string& name);
  /// `flags`: of renameat2.
  Result<void> rename(std::uint64_t parent, const std::string& name, std::uint64_t new_parent,
                      const std::string& new_name, unsigned flags, const Requester& who);
  Result<void> sync_directory(std::uint64_t id);
  Result<struct statvfs> file_system_status(std::uint64_t id);
  /// A descriptor for reading the directory; the caller closes it.
  Result<int> open_directory(std::uint64_t id);

  // --- files (tree_files.cc) ---
  Result<struct stat> attributes(std::uint64_t id);
  Result<struct stat> set_attributes(std::uint64_t id, const AttributeChange& change, const Requester& who);
  /// `flags`: of open(2), O_EXCL counts. The file is open afterwards.
  Result<Entry> create(std::uint64_t parent, const std::string& name, mode_t mode, int flags,
                       const Requester& who);
  /// The replica may have to prepare the database's WAL and wal-index first: `done` is called once, from this
  /// or another thread.
  void open_file(std::uint64_t id, int flags, const Requester& who, std::function<void(Result<Opened>)> done);
  Result<std::size_t> read(std::uint64_t id, MutableBytes into, std::uint64_t offset, Caller caller);
  Result<void> write(std::uint64_t id, Bytes bytes, std::uint64_t offset, Caller caller);
  Result<void> allocate(std::uint64_t id, int mode, std::uint64_t offset, std::uint64_t length,
                        Caller caller);
  Result<void> sync(std::uint64_t id, const Requester& who);
  /// A handle is being closed; `done` is called once, when the closing process may go on.
  void flush(std::uint64_t id, Caller caller, std::function<void(Result<void>)> done);
  /// `writable`: how the handle had been opened.
  void release(std::uint64_t id, Caller caller);

  Databases& databases() { return databases_; }

 private:
  Tree(Databases& databases, Passthrough& passthrough, std::unique_ptr<NodeTable> nodes,
       std::string root_path)
      : databases_(databases),
        passthrough_(passthrough),
        nodes_(std::move(nodes)),
        root_path_(std::move(root_path)),
        virtual_files_(databases) {}

  Result<std::shared_ptr<Node>> node(std::uint64_t id) const;
  Result<Entry> entry_of(const Node& parent, const std::string& name);
  Result<struct stat> with_database_size(const Node& node, struct stat status) const;
  /// Gives the node the role that its name has now.
  void bind(const std::shared_ptr<Node>& node, const Node& parent, const std::string& name);
  /// The database that a companion of `base` would belong to, made if `base` is a file that can be one.
  std::shared_ptr<Database> database_for_companion(const Node& parent, const std::string& base);
  /// Makes a database of `name`, if the file could be one, and binds its node.
  std::shared_ptr<Database> adopt(const Node& parent, const std::string& name);
  /// `name` in `parent`, if a database lives there.
  std::shared_ptr<Database> database_at(const Node& parent, const std::string& name);
  std::string relative_path(const Node& parent, const std::string& name) const;
  Result<void> own(const Node& parent, const std::string& name, mode_t mode, const Requester& who);

  struct Companion {
    Role role = Role::kPlain;
    std::string base;
    std::shared_ptr<Database> database;
  };
  Companion companion_at(const Node& parent, const std::string& name);
  Result<void> refuse_on_replica(const Node& parent, const std::string& name, const Requester& who);
  /// The node's own name, for what is asked of an open file or by number.
  Result<void> require_in_service(const Node& node) const;
  Result<void> require_in_service(const Node& parent, const std::string& name) const;
  Result<void> allow_creation(const Node& parent, const std::string& name, const Requester& who);
  Result<void> allow_open(const Node::Binding& binding, int flags, const Requester& who) const;
  Result<void> resize(Node& node, std::uint64_t size, Caller caller);
  /// Whether closing a file of this role is to be reported.
  bool wants_flush(Role role) const;
  /// How the file of this role is to be opened: null for by requests.
  Passthrough* passthrough_for(const Node::Binding& binding);
  /// A handle on a WAL is about to be used: its commits are found by one source or the other. If that fails
  /// the handle is closed again.
  Result<void> sync_wal(Database& database, const Requester& who);
  Result<void> choose_source(Node& wal, Database& database, const std::shared_ptr<File>& io);
  Result<void> write_plain(Node& node, File& file, Bytes bytes, std::uint64_t offset, Caller caller);
  Result<void> take_away(Node& parent, const std::string& name, const Database::Perform& perform);
  Result<void> refuse_exchange(const Node& parent, const std::string& name, const Node& new_parent,
                               const std::string& new_name);
  void moved(Node& new_parent, const std::string& new_name);
  /// The database whose content will be another when something is renamed to `name`: what lies beside it
  /// counts then. `moved`: what is renamed, if it is a database. Null: none.
  std::shared_ptr<Database> brought_by_rename(const Node& parent, const std::string& name,
                                              const std::shared_ptr<Database>& moved);
  void take_over_moved(Node& parent, const std::string& name);

  Databases& databases_;
  Passthrough& passthrough_;
  const std::unique_ptr<NodeTable> nodes_;
  const std::string root_path_;
  VirtualFiles virtual_files_;
  Mutex renames_;  ///< one rename at a time: paths, once read, hold. Taken before any other lock
};

/// Which companion of a database a name is; kPlain for none. `base` is the database's name.
Role companion_role(const std::string& name, std::string& base);

}  // namespace rillfs::mount
