#include "fs/capture/staging.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "replication/base/failpoint.h"

namespace rillfs {
namespace {
constexpr Label kStage = "transaction: stage";
constexpr Label kCopy = "commit: copy staged pages";
constexpr std::size_t kCopyChunk = 256 * 1024;
}  // namespace

bool Staging::has(std::uint64_t sector) const {
  const auto word = sectors_.find(sector / 64);
  return word != sectors_.end() && (word->second >> (sector % 64) & 1) != 0;
}

bool Staging::overlaps(std::uint64_t offset, std::uint64_t size) const {
  if (size == 0 || empty()) return false;
  if (offset + size > below_limit_) return true;
  for (std::uint64_t sector = offset / kSector; sector <= (offset + size - 1) / kSector; ++sector)
    if (has(sector)) return true;
  return false;
}

Result<void> Staging::require_file(FileSystem& files, const std::string& directory) {
  if (file_) return {};
  RILL_ASSIGN(file_, files.open_unnamed(directory, kStage));
  return {};
}

void Staging::mark(std::uint64_t sector) {
  if (!has(sector)) ++marked_;
  sectors_[sector / 64] |= std::uint64_t{1} << (sector % 64);
}

// The commit writes everything once more into the log, and the file may grow by it. If room is missing only
// then, the call that ends the journal fails, of which SQLite says "disk I/O error"; of a write it says
// "full".
Result<void> Staging::require_room(FileSystem& files, const std::string& directory, std::uint64_t offset,
                                   std::uint64_t size) const {
  constexpr std::uint64_t kSlack = 64 * 1024;
  bool takes_room = false;
  for (std::uint64_t sector = offset / kSector; sector * kSector < offset + size; ++sector)
    takes_room = takes_room || !has(sector);
  if (!takes_room) return {};
  const std::uint64_t staged = marked_ * kSector + size;
  if (files.room(directory) >= size + 2 * staged + kSlack) return {};
  return errno_error(ENOSPC, "transaction: no room is left to commit it");
}

std::uint64_t Staging::present_size(File& below) const {
  if (size_) return *size_;
  auto size = below.size(kStage);
  return size ? *size : 0;
}

Result<void> Staging::fill(File& below, std::uint64_t sector) {
  if (has(sector)) return {};
  std::uint8_t bytes[kSector] = {};
  const std::uint64_t offset = sector * kSector;
  if (offset < below_limit_) {
    const std::size_t n = std::min<std::uint64_t>(kSector, below_limit_ - offset);
    RILL_TRY(below.read_at(MutableBytes(bytes, n), offset, kStage));
  }
  RILL_TRY(file_->write_at(bytes, offset, kStage));
  mark(sector);
  return {};
}

Result<void> Staging::write(FileSystem& files, const std::string& directory, File& below, Bytes bytes,
                            std::uint64_t offset) {
  auto staged = stage(files, directory, below, bytes, offset);
  // A rollback writes back what is there. On a full disk it must not need room, as it needs none on any other
  // file: else nobody could read the database until there is.
  const bool no_room = !staged && staged.error().code == ErrorCode::kNoSpace;
  if (no_room && holds(below, bytes, offset)) return {};
  return staged;
}

bool Staging::holds(File& below, Bytes bytes, std::uint64_t offset) const {
  Buffer present(bytes.size());
  auto got = read(below, present, offset);
  return got && *got == present.size() && std::equal(present.begin(), present.end(), bytes.begin());
}

Result<void> Staging::stage(FileSystem& files, const std::string& directory, File& below, Bytes bytes,
                            std::uint64_t offset) {
  if (bytes.empty()) return {};
  RILL_TRY(require_room(files, directory, offset, bytes.size()));
  RILL_TRY(require_file(files, directory));
  const std::uint64_t end = offset + bytes.size();
  const std::uint64_t size = present_size(below);
  if (offset % kSector != 0) RILL_TRY(fill(below, offset / kSector));
  if (end % kSector != 0) RILL_TRY(fill(below, end / kSector));
  RILL_TRY(file_->write_at(bytes, offset, kStage));
  const std::uint64_t last = (end - 1) / kSector;
  for (std::uint64_t sector = offset / kSector; sector <= last; ++sector) mark(sector);
  size_ = std::max(size, end);
  return {};
}

Result<void> Staging::resize(File& below, std::uint64_t size) {
  const std::uint64_t before = present_size(below);
  if (size < before) {
    below_limit_ = std::min(below_limit_, size);
    // Forget what lies behind the cut; what is left of the last sector must read as zeros behind it.
    if (size % kSector != 0 && has(size / kSector)) {
      const std::uint8_t zeros[kSector] = {};
      RILL_TRY(file_->write_at(Bytes(zeros, kSector - size % kSector), size, kStage));
    }
    const std::uint64_t from = (size + kSector - 1) / kSector;
    if (auto word = sectors_.find(from / 64); word != sectors_.end())
      word->second &= (std::uint64_t{1} << (from % 64)) - 1;
    sectors_.erase(sectors_.upper_bound(from / 64), sectors_.end());
  }
  size_ = size;
  return {};
}

Result<std::size_t> Staging::read(File& below, MutableBytes into, std::uint64_t offset) const {
  const std::uint64_t size = present_size(below);
  if (offset >= size) return std::size_t{0};
  const std::size_t n = std::min<std::uint64_t>(into.size(), size - offset);
  std::size_t done = 0;
  while (done < n) {
    const std::uint64_t at = offset + done;
    const bool staged = has(at / kSector);
    // A run of sectors that all come from the same file.
    std::uint64_t end = (at / kSector + 1) * kSector;
    while (end < offset + n && has(end / kSector) == staged) end += kSector;
    MutableBytes part = into.subspan(done, std::min<std::uint64_t>(end, offset + n) - at);
    std::size_t got = 0;
    if (staged) {
      RILL_ASSIGN(got, file_->read_at(part, at, kStage));
    } else if (at < below_limit_) {
      const std::size_t there = std::min<std::uint64_t>(part.size(), below_limit_ - at);
      RILL_ASSIGN(got, below.read_at(part.first(there), at, kStage));
    }
    std::memset(part.data() + got, 0, part.size() - got);
    done += part.size();
  }
  return n;
}

std::vector<Pgno> Staging::pages(std::uint32_t page_size) const {
  std::vector<Pgno> pages;
  const std::uint32_t per_page = page_size / kSector;
  for (const auto& [word, staged] : sectors_) {
    for (std::uint64_t bits = staged; bits != 0; bits &= bits - 1) {
      const std::uint64_t sector = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
      if (sector / per_page >= kPgnoMax.value) return pages;  // no page of any database
      const Pgno pgno{static_cast<std::uint32_t>(sector / per_page + 1)};
      if (pages.empty() || pages.back() != pgno) pages.push_back(pgno);
    }
  }
  return pages;
}

Result<void> Staging::copy_to(File& below, std::uint64_t size, bool* untouched) const {
  *untouched = true;
  RILL_ASSIGN(const std::uint64_t present, below.size(kCopy));
  const std::uint64_t sector_count = sector_end();
  const std::uint64_t grows_at = std::min((present + kSector - 1) / kSector, sector_count);
  if (auto grown = copy_sectors(below, grows_at, sector_count, size); !grown) {
    *untouched = static_cast<bool>(below.truncate(present, kCopy));
    return grown;
  }
  *untouched = false;
  RILL_TRY(copy_sectors(below, 0, grows_at, size));
  // A file that was cut and grown again reads as zeros between the cut and what was written since.
  if (below_limit_ < present && below_limit_ < size) {
    for (std::uint64_t at = below_limit_; at < std::min(present, size);) {
      const std::uint64_t next = std::min({(at / kSector + 1) * kSector, present, size});
      if (!has(at / kSector)) {
        const std::uint8_t zeros[kSector] = {};
        RILL_TRY(below.write_at(Bytes(zeros, next - at), at, kCopy));
      }
      at = next;
    }
  }
  RILL_ASSIGN(const std::uint64_t now, below.size(kCopy));
  if (now != size) RILL_TRY(below.truncate(size, kCopy));
  return {};
}

Result<void> Staging::copy_sectors(File& below, std::uint64_t sector, std::uint64_t sector_count,
                                   std::uint64_t size) const {
  Buffer buffer;  // as large as the longest run, up to a chunk: most transactions have a few pages
  while (sector < sector_count) {
    const auto word = sectors_.lower_bound(sector / 64);
    if (word == sectors_.end()) break;
    if (word->first != sector / 64 || word->second == 0) {
      sector = std::max((sector / 64 + 1) * 64, word->first * 64);
      continue;
    }
    if (!has(sector)) {
      ++sector;
      continue;
    }
    std::uint64_t end = sector + 1;
    while (end < sector_count && has(end) && (end - sector) * kSector < kCopyChunk) ++end;
    const std::uint64_t offset = sector * kSector;
    if (offset < size) {
      const std::uint64_t length = std::min((end - sector) * kSector, size - offset);
      if (buffer.size() < length) buffer.resize(length);
      MutableBytes part(buffer.data(), length);
      RILL_ASSIGN(std::size_t got, file_->read_at(part, offset, kCopy));
      std::memset(part.data() + got, 0, part.size() - got);
      RILL_TRY(below.write_at(part, offset, kCopy));
      failpoint::reach("journal.commit.between_copies");
    }
    sector = end;
  }
  return {};
}

void Staging::forget(std::uint64_t offset, std::uint64_t size) {
  for (std::uint64_t sector = offset / kSector; sector < (offset + size) / kSector; ++sector) {
    if (!has(sector)) continue;
    sectors_[sector / 64] &= ~(std::uint64_t{1} << (sector % 64));
    --marked_;
  }
}

void Staging::forget_size() {
  size_.reset();
  below_limit_ = UINT64_MAX;
}

void Staging::clear() {
  if (empty()) return;
  sectors_.clear();
  marked_ = 0;
  forget_size();
  if (file_ && !file_->truncate(0, kStage)) file_.reset();  // a new one next time
}

}  // namespace rillfs
