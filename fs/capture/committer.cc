#include "fs/capture/committer.h"

#include <algorithm>
#include <cerrno>

#include "replication/ltx/checksum.h"
#include "replication/ltx/encoder.h"

namespace rillfs {
namespace {

struct NullSink final : ByteSink {
  Result<void> write(Bytes) override { return {}; }
};

/// By how many pages a transaction that writes so many can make a database longer. SQLite adds a page without
/// writing it in one case only: as a leaf of the freelist, and then a page that it does write names it, in 4
/// bytes. And there is the lock page.
std::uint64_t growth_max(std::uint64_t written, std::uint32_t page_size) {
  return written * (page_size / 4 + 1) + 1;
}

}  // namespace

Result<void> Committer::check_size(std::uint32_t page_size, Pgno commit, std::uint64_t written_pages) const {
  const bool anew = page_size != content_.page_size();
  const std::uint64_t old_count = anew ? 0 : content_.page_count().value;
  const std::uint64_t limit = old_count + growth_max(written_pages, page_size);
  if (commit <= kPgnoMax && commit.value <= limit) return {};
  return errno_error(EIO, "a transaction that writes " + std::to_string(written_pages) +
                              " pages says that the database has " + std::to_string(commit.value) +
                              " afterwards, and it had " + std::to_string(old_count) +
                              ": SQLite makes no such transaction, and it is not committed. Look at the "
                              "program that writes this database");
}

std::vector<Pgno> Committer::candidates(const Transaction& transaction) const {
  // With another page size every page is a new one; else what the file has grown by belongs to the change set
  // too, written or not, so that change sets can be merged later.
  const bool anew = transaction.page_size != content_.page_size();
  const Pgno old_count = anew ? Pgno{} : content_.page_count();
  std::vector<Pgno> pages;
  pages.reserve(transaction.written.size());
  for (Pgno pgno : transaction.written) {
    if (pgno <= old_count && pgno <= transaction.commit) pages.push_back(pgno);
  }
  for (Pgno pgno = old_count.next(); pgno <= transaction.commit; pgno = pgno.next()) pages.push_back(pgno);
  std::erase(pages, ltx::lock_pgno(transaction.page_size));
  return pages;
}

ltx::Header Committer::header(const Transaction& transaction) const {
  ltx::Header header;
  header.page_size = transaction.page_size;
  header.commit = transaction.commit;
  header.min_txid = header.max_txid = content_.position().txid.next();
  header.timestamp_ms = environment_.clock.wall_ms();
  if (!header.is_snapshot()) header.pre_apply = content_.position().checksum;
  header.wal_offset = transaction.wal.offset;
  header.wal_size = transaction.wal.size;
  header.wal_salt1 = transaction.wal.salt1;
  header.wal_salt2 = transaction.wal.salt2;
  header.node = environment_.node;
  return header;
}

Result<bool> Committer::encode(const Transaction& transaction, const std::vector<Pgno>& candidates,
                               const ltx::Header& header, ByteSink& sink) {
  pending_.changes.clear();
  pending_.commit = transaction.commit;
  pending_.page_size = transaction.page_size;
  const bool anew = transaction.page_size != content_.page_size();
  page_.resize(transaction.page_size);
  ltx::Encoder encoder(sink);
  RILL_TRY(encoder.begin(header));
  for (Pgno pgno : candidates) {
    RILL_TRY(transaction.read(pgno, page_));
    const Checksum checksum = ltx::page_checksum(pgno, page_);
    if (!anew && content_.page(pgno) == checksum) continue;
    RILL_TRY(encoder.page(pgno, page_));
    pending_.changes.push_back({pgno, checksum});
  }
  if (pending_.changes.empty() && !anew && transaction.commit == content_.page_count()) return false;
  const Content::Sums sums = content_.preview(pending_.changes, transaction.commit, transaction.page_size);
  pending_.position = {environment_.current_epoch(), header.max_txid, sums.rolling};
  pending_.hash = sums.hash;
  RILL_TRY(encoder.finish(sums.rolling));
  return true;
}

Result<bool> Committer::append(log::Log& log, const Transaction& transaction) {
  const std::vector<Pgno> pages = candidates(transaction);
  const ltx::Header header = this->header(transaction);
  if (pages.size() * transaction.page_size <= kInMemoryBytesMax) {
    image_.clear();
    BufferSink sink(image_);
    RILL_ASSIGN(bool changed, encode(transaction, pages, header, sink));
    if (!changed) return false;
    RILL_TRY(log.append(record(header), image_));
    return true;
  }
  auto appended = append_streamed(log, transaction, pages, header);
  if (appended || appended.error().code != ErrorCode::kNoSpace) return appended;
  // A rollback changes nothing: it must not need room.
  NullSink nowhere;
  RILL_ASSIGN(bool differs, encode(transaction, pages, header, nowhere));
  if (differs) return appended;
  return false;
}

Result<bool> Committer::append_streamed(log::Log& log, const Transaction& transaction,
                                        const std::vector<Pgno>& pages, const ltx::Header& header) {
  RILL_ASSIGN(auto appender, log.begin(record(header)));
  RILL_ASSIGN(bool changed, encode(transaction, pages, header, appender));
  if (!changed) return false;  // the appender takes its bytes back
  appender.set_post(pending_.position.checksum, pending_.hash);
  RILL_TRY(appender.commit());
  return true;
}

log::NewRecord Committer::record(const ltx::Header& header) const {
  log::NewRecord record;
  record.epoch = environment_.current_epoch();
  record.min_txid = header.min_txid;
  record.max_txid = header.max_txid;
  record.pre = content_.position().checksum;
  record.post = pending_.position.checksum;
  record.hash = pending_.hash;
  record.commit = header.commit;
  record.page_size = header.page_size;
  record.timestamp_ms = header.timestamp_ms;
  return record;
}

void Committer::publish() {
  content_.apply(pending_.changes, pending_.commit, pending_.page_size, pending_.position);
}

Result<void> Committer::revoke(log::Log& log) { return log.cut_last(); }

}  // namespace rillfs
