// Snapshot pages as they travel: a batch of ascending pages, LZ4-compressed if that makes it smaller.
#pragma once

#include <functional>

#include "replication/base/bytes.h"
#include "replication/base/error.h"
#include "replication/base/types.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::stream {

/// Collects pages for one SnapshotPages message.
class PageBatch {
 public:
  explicit PageBatch(std::uint32_t page_size) : page_size_(page_size) {}
  bool has_room() const;
  bool empty() const { return raw_.empty(); }
  std::uint32_t page_count() const { return static_cast<std::uint32_t>(raw_.size() / page_size_); }
  /// kInvalid for a page that does not ascend or has another size.
  Result<void> add(Pgno pgno, Bytes data);
  /// The message and its payload.
  void append_frame(DatabaseId id, Buffer& out);

 private:
  std::uint32_t page_size_;
  wire::Message message_;
  Pgno last_;
  Buffer raw_;
};

/// Calls `page` for each page of a received batch, in order; stops at its first error. kInvalid when sizes,
/// runs and payload do not fit together; nothing is allocated beyond kPayloadSizeMax.
Result<void> for_each_page(const wire::SnapshotPages& pages, Bytes payload, std::uint32_t page_size,
                           const std::function<Result<void>(Pgno, Bytes)>& page);

}  // namespace rillfs::stream
