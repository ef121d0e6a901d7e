// What is true: every content that any primary ever made, by position, and what was promised of it.
#pragma once

#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>

#include "replication/base/types.h"
#include "replication/log/content_hash.h"

namespace rillfs::simulation {

/// A rule is broken.
struct Violation : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Oracle {
 public:
  /// A primary has committed: `content` at `position`, after `before`.
  void made(DatabaseId id, const Position& before, const Position& position,
            const log::ContentHash& content) {
    const auto [at, inserted] = made_.try_emplace(key(id, position), Made{before, content});
    if (!inserted && at->second.content != content)
      throw Violation(to_hex(id.value) + ": two contents at " + to_text(position));
  }
  /// An application of a primary has dropped it.
  void dropped(DatabaseId id) { dropped_.insert(id); }
  bool was_dropped(DatabaseId id) const { return dropped_.contains(id); }
  /// Somebody has `content` and says that it is at `position`.
  void check(const std::string& who, DatabaseId id, const Position& position,
             const log::ContentHash& content) const {
    if (position.txid.value == 0) return;
    const auto at = made_.find(key(id, position));
    if (at == made_.end())
      throw Violation(who + ": " + to_hex(id.value) + " is at " + to_text(position) +
                      ", which nobody has made");
    if (at->second.content != content)
      throw Violation(who + ": " + to_hex(id.value) + " has another content than " + to_text(position) +
                      " is");
  }
  /// `position` is `later`, or one of those that it was made from.
  bool leads_to(DatabaseId id, const Position& position, Position later) const {
    while (later.txid > position.txid) {
      const auto at = made_.find(key(id, later));
      if (at == made_.end()) return false;
      later = at->second.before;
    }
    return later.same_place(position) || position.txid.value == 0;
  }

 private:
  using Key = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>;
  static Key key(DatabaseId id, const Position& position) {
    return {id.value, position.txid.value, position.checksum.value};
  }
  struct Made {
    Position before;
    log::ContentHash content;
  };
  std::map<Key, Made> made_;
  std::set<DatabaseId> dropped_;
};

}  // namespace rillfs::simulation
