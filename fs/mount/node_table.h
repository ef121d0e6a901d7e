// The nodes that the kernel holds references to, by number.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "fs/mount/node.h"
#include "replication/base/mutex.h"

namespace rillfs::mount {

/// Threads: any.
class NodeTable {
 public:
  static constexpr std::uint64_t kRootId = 1;

  /// `root_fd`: O_PATH descriptor of the tree's root directory; taken over.
  static Result<std::unique_ptr<NodeTable>> open(int root_fd);

  Node& root() { return *root_; }
  /// The node of a number that the kernel holds. Null for a number it was never given (a bug or a hostile
  /// kernel; answered with ESTALE).
  std::shared_ptr<Node> find(std::uint64_t id) const;

  struct Found {
    std::shared_ptr<Node> node;
    struct stat status;
  };
  /// Looks `name` up in `parent` and counts one kernel reference on what is there. kNotFound when nothing is.
  Result<Found> look_up(const Node& parent, const std::string& name);
  /// Takes `count` kernel references back; the node goes when none is left.
  void forget(std::uint64_t id, std::uint64_t count);

 private:
  explicit NodeTable(std::shared_ptr<Node> root, dev_t device) : root_(std::move(root)), device_(device) {}

  struct Known {
    std::shared_ptr<Node> node;
    std::uint64_t lookups = 0;  ///< references that the kernel holds
  };

  const std::shared_ptr<Node> root_;
  const dev_t device_;
  mutable Mutex mutex_;  ///< taken after no other lock
  std::unordered_map<std::uint64_t, Known> nodes_ RILL_GUARDED_BY(mutex_);
};

}  // namespace rillfs::mount
