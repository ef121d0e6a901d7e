// Turns the pages that a transaction wrote into one change set in the log.
//
// A commit has three steps, so that it can still fail and nothing is told about one that did:
//   append   compares the written pages with the content, encodes those that differ, appends the record
//   publish  after the caller has made the change visible to the application: the content moves on
//   revoke   or the caller could not: the record is taken back
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "fs/content.h"
#include "fs/environment.h"
#include "replication/base/byte_stream.h"
#include "replication/base/error.h"
#include "replication/base/types.h"
#include "replication/log/log.h"
#include "replication/ltx/header.h"

namespace rillfs {

/// Where a transaction's frames are in the WAL; all zero for a rollback journal.
struct WalSpan {
  std::uint64_t offset = 0;  ///< bytes
  std::uint64_t size = 0;    ///< bytes
  std::uint32_t salt1 = 0;
  std::uint32_t salt2 = 0;
};

/// A transaction as its source knows it.
struct Transaction {
  std::uint32_t page_size = 0;  ///< bytes
  Pgno commit;                  ///< size of the database afterwards, pages
  std::vector<Pgno> written;    ///< pages that may have changed, ascending, none twice
  /// Reads a page as of after the transaction; called for written pages and for those the file has grown by.
  std::function<Result<void>(Pgno, MutableBytes)> read;
  WalSpan wal;
};

/// Threads: one at a time (the database's mutex).
class Committer {
 public:
  /// Images up to this many bytes of pages are built in memory, larger ones in the log itself.
  static constexpr std::uint64_t kInMemoryBytesMax = std::uint64_t{4} << 20;

  Committer(Environment& environment, Content& content) : environment_(environment), content_(content) {}

  /// A transaction's size is what the application says: EIO if what it wrote cannot be a database of that
  /// size. To be asked before `append`, which takes it as true.
  Result<void> check_size(std::uint32_t page_size, Pgno commit, std::uint64_t written_pages) const;
  /// False: nothing has changed, there is no record, neither publish nor revoke is due.
  Result<bool> append(log::Log& log, const Transaction& transaction);
  void publish();
  /// Where the appended, not yet published change set leads.
  const Position& pending_position() const { return pending_.position; }
  Result<void> revoke(log::Log& log);

 private:
  struct Pending {
    std::vector<PageChange> changes;
    Pgno commit;
    std::uint32_t page_size = 0;
    Position position;
    log::ContentHash hash;
  };
  std::vector<Pgno> candidates(const Transaction& transaction) const;
  /// False: nothing differs, and what the sink got is to be forgotten.
  Result<bool> encode(const Transaction& transaction, const std::vector<Pgno>& candidates,
                      const ltx::Header& header, ByteSink& sink);
  /// An image that is too large to be built in memory.
  Result<bool> append_streamed(log::Log& log, const Transaction& transaction, const std::vector<Pgno>& pages,
                               const ltx::Header& header);
  ltx::Header header(const Transaction& transaction) const;
  log::NewRecord record(const ltx::Header& header) const;

  Environment& environment_;
  Content& content_;
  Pending pending_;
  Buffer image_;
  Buffer page_;
};

}  // namespace rillfs
