// On a replica: the pages whose newest content the database file may not hold yet.
//
// A change set is in the log first and in the file later: written there, or by a checkpoint out of the WAL.
// In between nobody can say which of its versions a page has in the file. All other pages must be there as
// the log's end has them.
//
// Memory: one entry a page, and one a change set, that is not in the file.
#pragma once

#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "fs/content.h"
#include "replication/base/types.h"

namespace rillfs {

/// Threads: one at a time.
class PagesAhead {
 public:
  /// A change set that leads to `txid` is in the log.
  void changed(const std::vector<PageChange>& changes, Txid txid);
  /// A snapshot is: every page, until it has been applied and the file holds it.
  void replaced(const Position& position);
  /// Readers see `position`.
  void applied(const Position& position);
  /// The file itself has everything up to `position`. A snapshot's history begins anew: what is said of the
  /// one before it, late, counts for nothing.
  void file_holds(const Position& position);

  bool contains(Pgno pgno) const { return snapshot_ || newest_.contains(pgno); }
  bool replacing() const { return snapshot_.has_value(); }
  std::size_t size() const { return newest_.size(); }

 private:
  struct ChangeSet {
    Txid txid;
    std::vector<Pgno> pages;
  };
  std::deque<ChangeSet> waiting_;          ///< in order
  std::unordered_map<Pgno, Txid> newest_;  ///< the last change set of each page in `waiting_`
  std::optional<Position> snapshot_;       ///< received, and the file does not hold it yet
  bool snapshot_applied_ = false;
};

}  // namespace rillfs
