// A received change set's LTX image, in memory or spooled to a file, read and checked page by page.
#pragma once

#include <functional>
#include <memory>

#include "fs/content.h"
#include "replication/base/file_system.h"
#include "replication/ltx/decoder.h"
#include "replication/ltx/header.h"
#include "replication/stream/databases.h"

namespace rillfs {

/// What reading one image through has shown.
struct ImageSummary {
  ltx::Header header;
  ltx::Trailer trailer;
  std::vector<PageChange> changes;
};

/// Reads the whole image, verifies its own checksum, and hands each page to `page` (which may be empty).
/// kCorrupt when it does not verify or is not the change set that `info` announces.
Result<ImageSummary> read_image(FileSystem& files, const stream::ChangeSetInfo& info,
                                const stream::Sink::Image& image,
                                const std::function<Result<void>(Pgno, Bytes)>& page);

}  // namespace rillfs
