// One file or directory that the kernel knows by number.
//
// The number ("nodeid") is the backing file's inode number, so that a restarted daemon can find it again; the
// root is 1 as FUSE demands. An O_PATH descriptor keeps the backing inode alive, and with it its number,
// until the kernel forgets the node. A file handle carries no state: what is open is counted here.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "fs/mount/passthrough.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/mutex.h"

namespace rillfs {
class Database;
}

namespace rillfs::mount {

/// What a file is to SQLite. Follows from its name and from what its base name is (design: Names).
enum class Role : std::uint8_t { kPlain, kDatabase, kWal, kShm, kJournal };

/// Threads: any; a lock of its own. Lock order: that one before any Database lock.
class Node {
 public:
  /// Takes over `path_fd` (O_PATH). `type`: the S_IFMT bits of the backing inode.
  Node(std::uint64_t id, int path_fd, mode_t type) : id_(id), path_fd_(path_fd), type_(type) {}
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::uint64_t id() const { return id_; }
  int path_fd() const { return path_fd_; }
  bool is_directory() const { return S_ISDIR(type_); }
  bool is_regular() const { return S_ISREG(type_); }
  /// `/proc/self/fd/N`: a path to this very inode, whatever its name is now.
  std::string proc_path() const;
  /// Absolute path of the backing inode now; empty if it has none any more.
  std::string backing_path() const;
  Result<struct stat> status() const;

  struct Binding {
    Role role = Role::kPlain;
    std::shared_ptr<Database> database;  ///< null for a plain file
  };
  Binding binding() const;
  void bind(Binding binding);

  /// The name under which the kernel last looked this node up: names nothing once it was unlinked.
  struct Place {
    std::uint64_t parent = 0;
    std::string name;
  };
  Place place() const;
  void set_place(Place place);

  /// Counts one more open handle; the first one opens the backing file read-write (read-only where that is
  /// not allowed). `created` hands over a descriptor that CREATE already has. With `passthrough` the first
  /// one also tries to pass the file through; the others do as it did.
  Result<std::shared_ptr<File>> open(std::unique_ptr<File> created = nullptr,
                                     Passthrough* passthrough = nullptr);
  /// One handle less; the last one closes the backing file.
  void close();
  /// The backing file while somebody has it open; null otherwise.
  std::shared_ptr<File> io() const;
  /// The backing file that the open handles are passed through to; 0 while the kernel asks us.
  BackingId backing() const;
  /// It has been passed through: what the kernel has cached of it from before is out of date.
  bool was_passed_through() const { return was_passed_through_; }

  /// A journal that an application has made: all its handles go past the kernel's cache. A write through it
  /// that ends within a page is two requests, and SQLite's all do.
  std::atomic<bool> uncached{false};
  /// Set when a name in this directory changed that only this directory's own fsync makes durable.
  std::atomic<bool> names_changed{false};

 private:
  const std::uint64_t id_;
  const int path_fd_;
  const mode_t type_;

  mutable Mutex mutex_;
  Binding binding_ RILL_GUARDED_BY(mutex_);
  Place place_ RILL_GUARDED_BY(mutex_);
  std::shared_ptr<File> io_ RILL_GUARDED_BY(mutex_);
  std::uint32_t opens_ RILL_GUARDED_BY(mutex_) = 0;
  Passthrough* passthrough_ RILL_GUARDED_BY(mutex_) = nullptr;  ///< whom `backing_` goes back to
  BackingId backing_ RILL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> was_passed_through_{false};
};

}  // namespace rillfs::mount
