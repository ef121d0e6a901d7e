#include "fs/mount/node_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace rillfs::mount {

Result<std::unique_ptr<NodeTable>> NodeTable::open(int root_fd) {
  auto root = std::make_shared<Node>(kRootId, root_fd, S_IFDIR);
  RILL_ASSIGN(struct stat status, root->status());
  return std::unique_ptr<NodeTable>(new NodeTable(std::move(root), status.st_dev));
}

std::shared_ptr<Node> NodeTable::find(std::uint64_t id) const {
  if (id == kRootId) return root_;
  Lock lock(mutex_);
  auto it = nodes_.find(id);
  return it == nodes_.end() ? nullptr : it->second.node;
}

Result<NodeTable::Found> NodeTable::look_up(const Node& parent, const std::string& name) {
  int fd = ::openat(parent.path_fd(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno_error(errno, "look up " + name);
  struct stat status {};
  if (::fstatat(fd, "", &status, AT_EMPTY_PATH) < 0) {
    int error = errno;
    ::close(fd);
    return errno_error(error, "look up " + name);
  }
  // Another file system mounted inside the tree, or an inode number that FUSE keeps for the root.
  if (status.st_dev != device_ || status.st_ino == kRootId) {
    ::close(fd);
    return errno_error(EXDEV, "look up " + name + ": not on the data directory's file system");
  }
  auto fresh = std::make_shared<Node>(status.st_ino, fd, status.st_mode & S_IFMT);
  Lock lock(mutex_);
  auto [it, inserted] = nodes_.try_emplace(status.st_ino, Known{fresh});
  ++it->second.lookups;
  if (inserted) fresh->set_place({parent.id(), name});
  return Found{it->second.node, status};
}

void NodeTable::forget(std::uint64_t id, std::uint64_t count) {
  std::shared_ptr<Node> last;  // destroyed after the lock is released
  Lock lock(mutex_);
  auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  if (it->second.lookups > count) {
    it->second.lookups -= count;
    return;
  }
  last = std::move(it->second.node);
  nodes_.erase(it);
}

}  // namespace rillfs::mount
