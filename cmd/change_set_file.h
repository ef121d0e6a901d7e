// The change sets in a file, whichever kind it is: one in an LTX file, one a record in a log segment.
//
// A segment is told by its magic, not by its name (layout: replication/log/segment.h). Everything a segment
// says about its records is checked here: that they follow one another, belong to the segment's database, and
// lie within the file. The images themselves are the visitor's to decode; `verify_change_set` does.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "replication/base/byte_stream.h"
#include "replication/log/segment.h"
#include "replication/ltx/decoder.h"

namespace rillfs::cmd {

struct ChangeSet {
  std::string place;                      ///< the file, and for a record its offset: "a.seg@128"
  std::optional<log::RecordInfo> record;  ///< the envelope, in a segment
  File& file;
  std::uint64_t offset = 0;  ///< of the LTX image in the file
  std::uint64_t size = 0;    ///< bytes of it

  /// The image from its first byte.
  FileSource source() const { return {file, offset, size, "ltx: read image"}; }
};

/// Calls `visit` for each change set, in order. Stops at the visitor's first error, or at the first thing in
/// the file that does not verify (kCorrupt, with the offset). A segment that a node is writing may end in
/// half a record, which is reported like any other damage.
Result<void> for_each_change_set(FileSystem& files, const std::string& path,
                                 const std::function<Result<void>(const ChangeSet&)>& visit);

/// Decodes all of it, and compares it with the envelope.
Result<ltx::Summary> verify_change_set(const ChangeSet& set);
/// The part of that which compares: kCorrupt if envelope and image disagree.
Result<void> check_envelope(const ChangeSet& set, const ltx::Header& header, const ltx::Trailer& trailer);

}  // namespace rillfs::cmd
