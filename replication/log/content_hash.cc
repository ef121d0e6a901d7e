#include "replication/log/content_hash.h"

#include <xxhash.h>

namespace rillfs::log {

void ContentHash::add(const ContentHash& other) {
  lo += other.lo;
  hi += other.hi + (lo < other.lo ? 1 : 0);
}

void ContentHash::remove(const ContentHash& other) {
  hi -= other.hi + (lo < other.lo ? 1 : 0);
  lo -= other.lo;
}

ContentHash ContentHash::of_page(Pgno pgno, Bytes page) {
  XXH128_hash_t hash = XXH3_128bits_withSeed(page.data(), page.size(), pgno.value);
  return {hash.high64, hash.low64};
}

}  // namespace rillfs::log
