// From where a crash is repaired: what the database file holds for certain, and the page checksums on disk.
//
//   base.json   position that the file's durable content has reached at least (every page is as of it or
//   newer,
//               and what is newer is in the log after it); the position that pages.crc is of; page size
//   pages-TXID.crc  the checksums of pages 1..n as of that second position, 8 bytes each, big-endian, after a
//   header:
//                 0   8  magic "RILLCRC1"
//                 8   8  TXID          16  8  rolling checksum
//                24   4  page size     28  4  number of pages
//                32   8  CRC-64 of what follows
//               The lock page's entry is 0.
//
// Recovery: load pages.crc, replay the log after `base` into the file, and count checksums after `sums_at`.
#pragma once

#include <cstdint>
#include <string>

#include "fs/content.h"
#include "replication/base/error.h"
#include "replication/base/file_system.h"
#include "replication/base/types.h"

namespace rillfs {

struct ReplayBase {
  Position position;  ///< of the file's content
  Position sums_at;   ///< of pages.crc; not before `position`
  std::uint32_t page_size = 0;
};

/// Both files of one database's directory, read and checked. kNotFound when there is no base yet.
struct StoredBase {
  ReplayBase base;
  Content content;  ///< as of base.sums_at
};
Result<StoredBase> load_base(FileSystem& files, const std::string& directory);

/// Records a new base: pages.crc first, then base.json, each replaced atomically. The caller has synced the
/// database file and the log.
Result<void> save_base(FileSystem& files, const std::string& directory, const Position& position,
                       const Content& content);

}  // namespace rillfs
