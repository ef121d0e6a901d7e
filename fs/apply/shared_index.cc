#include "fs/apply/shared_index.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

namespace rillfs::apply {
namespace {

using namespace sqlite;

void barrier() { std::atomic_thread_fence(std::memory_order_seq_cst); }

std::atomic_ref<std::uint32_t> word(std::uint8_t* at) {
  return std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(at));
}

std::atomic_ref<std::uint16_t> slot(std::uint8_t* region, std::uint32_t number) {
  return std::atomic_ref<std::uint16_t>(
      *reinterpret_cast<std::uint16_t*>(region + kIndexHashTable + 2 * number));
}

/// Forgets every frame of the region after the first `keep`.
void drop_entries_after(std::uint8_t* region, std::uint8_t* pages, std::uint32_t keep) {
  for (std::uint32_t i = 0; i < kHashSlots; ++i)
    if (slot(region, i).load(std::memory_order_relaxed) > keep)
      slot(region, i).store(0, std::memory_order_relaxed);
  std::uint8_t* from = pages + 4 * std::size_t{keep};
  std::memset(from, 0, static_cast<std::size_t>(region + kIndexHashTable - from));
}

}  // namespace

Result<SharedIndex> SharedIndex::map(const Descriptor& shm) {
  SharedIndex index(shm.get());
  RILL_ASSIGN(const std::uint64_t size, shm.size());
  if (size < kIndexRegionSize)
    return make_error(ErrorCode::kCorrupt, "wal-index: shorter than its first region");
  RILL_TRY(index.map_next_region());
  return index;
}

SharedIndex::SharedIndex(SharedIndex&& other) noexcept
    : shm_(other.shm_), first_(std::exchange(other.first_, nullptr)), regions_(std::move(other.regions_)) {
  other.regions_.clear();
}

SharedIndex::~SharedIndex() {
  for (std::uint8_t* region : regions_) ::munmap(region, kIndexRegionSize);
}

std::optional<WalIndexHeader> SharedIndex::header() const {
  std::uint8_t copy1[kIndexHeaderSize];
  std::uint8_t copy2[kIndexHeaderSize];
  std::memcpy(copy1, first_ + kIndexCopy1, sizeof copy1);
  barrier();
  std::memcpy(copy2, first_ + kIndexCopy2, sizeof copy2);
  if (std::memcmp(copy1, copy2, sizeof copy1) != 0) return std::nullopt;
  return parse_wal_index_header(copy1);
}

void SharedIndex::publish(const WalIndexHeader& header) {
  const auto bytes = encode_wal_index_header(header);
  barrier();
  std::memcpy(first_ + kIndexCopy2, bytes.data(), bytes.size());
  barrier();
  std::memcpy(first_ + kIndexCopy1, bytes.data(), bytes.size());
  barrier();
}

std::uint32_t SharedIndex::backfilled() const {
  return word(first_ + kIndexBackfill).load(std::memory_order_acquire);
}

void SharedIndex::reset_checkpoint_info() {
  word(first_ + kIndexBackfill).store(0);
  word(first_ + kIndexBackfillAttempted).store(0);
  word(first_ + kIndexReadMarks + 4).store(0);
  for (int i = 2; i < kWalReaders; ++i) word(first_ + kIndexReadMarks + 4 * i).store(kReadMarkUnused);
}

Result<void> SharedIndex::reserve(std::uint32_t frame) {
  while (regions_.size() <= index_region(frame)) RILL_TRY(map_next_region());
  return {};
}

Result<void> SharedIndex::map_next_region() {
  const off_t begin = static_cast<off_t>(regions_.size() * kIndexRegionSize);
  struct stat status {};
  if (::fstat(shm_, &status) != 0) return errno_error(errno, "wal-index: fstat");
  const off_t end = begin + static_cast<off_t>(kIndexRegionSize);
  // Written, not only truncated to: a hole that cannot be filled later would be a SIGBUS in some process.
  static constexpr std::uint8_t kZeros[kIndexRegionSize] = {};
  for (off_t from = std::max(begin, status.st_size); from < end;) {
    const ssize_t n = ::pwrite(shm_, kZeros, static_cast<std::size_t>(end - from), from);
    if (n < 0 && errno != EINTR) return errno_error(errno, "wal-index: extend");
    if (n > 0) from += n;
  }
  void* region = ::mmap(nullptr, kIndexRegionSize, PROT_READ | PROT_WRITE, MAP_SHARED, shm_, begin);
  if (region == MAP_FAILED) return errno_error(errno, "wal-index: mmap");
  regions_.push_back(static_cast<std::uint8_t*>(region));
  first_ = regions_.front();
  return {};
}

Result<void> SharedIndex::insert(std::uint32_t frame, Pgno pgno) {
  const std::uint32_t number = index_region(frame);
  const std::uint32_t in_region = frame - frames_before_region(number);  // from 1
  std::uint8_t* region = regions_[number];
  std::uint8_t* pages = region + index_pages_offset(number);
  std::uint8_t* entry = pages + 4 * std::size_t{in_region - 1};
  // No reader looks at entries beyond its own header's mxFrame, so both clean-ups are invisible to readers.
  if (in_region == 1) {
    std::memset(pages, 0, static_cast<std::size_t>(region + kIndexRegionSize - pages));
  } else if (word(entry).load(std::memory_order_relaxed) != 0) {
    drop_entries_after(region, pages, in_region - 1);
  }
  std::uint32_t at = hash_slot(pgno);
  for (std::uint32_t steps = 0; slot(region, at).load(std::memory_order_relaxed) != 0;
       at = next_hash_slot(at))
    if (++steps > kHashSlots) return make_error(ErrorCode::kCorrupt, "wal-index: hash table is full");
  word(entry).store(pgno.value, std::memory_order_relaxed);
  slot(region, at).store(static_cast<std::uint16_t>(in_region), std::memory_order_release);
  return {};
}

}  // namespace rillfs::apply
