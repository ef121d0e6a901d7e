#include "replication/ltx/page_frame.h"

#include <lz4.h>

namespace rillfs::ltx {
namespace {

Error broken(Pgno pgno, const char* rule) {
  return make_error(ErrorCode::kInvalid, "LTX: page " + std::to_string(pgno.value) + ": " + rule);
}

}  // namespace

IndexEntry::IndexEntry(Pgno pgno, std::uint64_t offset, std::uint64_t size) {
  put(pgno.value);
  put(offset);
  put(size);
}

void IndexEntry::put(std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) data_[size_++] = static_cast<std::uint8_t>(value | 0x80);
  data_[size_++] = static_cast<std::uint8_t>(value);
}

bool expand_block(Bytes block, MutableBytes page) {
  const int size =
      LZ4_decompress_safe(reinterpret_cast<const char*>(block.data()), reinterpret_cast<char*>(page.data()),
                          static_cast<int>(block.size()), static_cast<int>(page.size()));
  return size == static_cast<int>(page.size());
}

std::size_t block_size_max(std::uint32_t page_size) {
  return static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(page_size)));
}

Pgno PageOrder::successor(Pgno pgno) const {
  Pgno next = pgno.next();
  return next == lock_pgno(header_.page_size) ? next.next() : next;
}

Result<void> PageOrder::add(Pgno pgno) {
  if (pgno == Pgno{}) return broken(pgno, "there is no page 0");
  if (pgno > header_.commit) return broken(pgno, "beyond the end of the database");
  if (pgno == lock_pgno(header_.page_size)) return broken(pgno, "the lock page is never stored");
  if (pgno <= last_) return broken(pgno, "not in ascending order");
  if (header_.is_snapshot() && pgno != successor(last_)) return broken(pgno, "gap in a snapshot");
  last_ = pgno;
  return {};
}

void PageOrder::sum(Pgno pgno, Bytes page) {
  if (header_.is_snapshot() && header_.has_checksums())
    rolling_ = rolling_.toggled(page_checksum(pgno, page));
}

Result<void> PageOrder::finish(Checksum post_apply) const {
  if (!header_.is_snapshot()) return {};
  bool complete = last_ == header_.commit || (last_ < header_.commit && successor(last_) > header_.commit);
  if (!complete) return broken(last_, "a snapshot ends here, before the end of the database");
  if (header_.has_checksums() && rolling_ != post_apply) {
    return make_error(ErrorCode::kInvalid,
                      "LTX: the pages of a snapshot do not sum to its post-apply checksum");
  }
  return {};
}

}  // namespace rillfs::ltx
