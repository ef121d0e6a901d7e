#include "cmd/change_set_file.h"

namespace rillfs::cmd {
namespace {

using Visitor = std::function<Result<void>(const ChangeSet&)>;

constexpr std::string_view kSegmentMagic = "RILLSEG1";

Error corrupt(const std::string& place, const std::string& why) {
  return make_error(ErrorCode::kCorrupt, place + ": " + why);
}

Result<bool> is_segment(File& file) {
  Buffer magic(kSegmentMagic.size());
  RILL_ASSIGN(std::size_t size, file.read_at(magic, 0, "ltx: read magic"));
  return size == magic.size() && std::equal(magic.begin(), magic.end(), kSegmentMagic.begin());
}

/// Nothing at the zeroes that a node writes ahead of its records.
Result<std::optional<log::RecordInfo>> read_envelope(File& file, const std::string& place,
                                                     std::uint64_t offset, std::uint64_t file_size) {
  constexpr const char* kTorn = "the record here is torn or damaged (or a node is writing it at this moment)";
  log::EnvelopeBytes bytes{};
  RILL_ASSIGN(const std::size_t got, file.read_at(bytes, offset, "ltx: read envelope"));
  if (is_zero(Bytes(bytes).first(got))) return std::optional<log::RecordInfo>();
  auto record = got == bytes.size() ? log::parse_envelope(bytes) : std::nullopt;
  if (!record) return corrupt(place, kTorn);
  std::uint64_t room = file_size - offset;
  if (record->image_size > room || log::record_size(record->image_size) > room) return corrupt(place, kTorn);
  return record;
}

Result<void> walk_segment(File& file, const std::string& path, std::uint64_t size, const Visitor& visit) {
  log::SegmentHeaderBytes head{};
  if (size < head.size()) return corrupt(path, "the segment ends within its header");
  RILL_TRY(file.read_exact_at(head, 0, "ltx: read segment header"));
  auto header = log::parse_segment_header(head);
  if (!header) return header.error().with(path);
  log::LogState state = header->start;
  for (std::uint64_t at = log::kSegmentHeaderSize; at < size;) {
    std::string place = path + "@" + std::to_string(at);
    RILL_ASSIGN(const auto found, read_envelope(file, place, at, size));
    if (!found) break;
    const log::RecordInfo& record = *found;
    if (record.database != header->database) return corrupt(place, "the record is of another database");
    if (auto follows = log::check_follows(record, state); !follows) return follows.error().with(place);
    RILL_TRY(visit(ChangeSet{place, record, file, at + log::kEnvelopeSize, record.image_size}));
    state = record.state_after();
    at += log::record_size(record.image_size);
  }
  return {};
}

}  // namespace

Result<void> for_each_change_set(FileSystem& files, const std::string& path, const Visitor& visit) {
  RILL_ASSIGN(auto file, files.open(path, OpenMode::kRead, "ltx: open"));
  RILL_ASSIGN(std::uint64_t size, file->size("ltx: size"));
  RILL_ASSIGN(bool segment, is_segment(*file));
  if (segment) return walk_segment(*file, path, size, visit);
  return visit(ChangeSet{path, std::nullopt, *file, 0, size});
}

Result<void> check_envelope(const ChangeSet& set, const ltx::Header& header, const ltx::Trailer& trailer) {
  if (!set.record) return {};
  const log::RecordInfo& record = *set.record;
  bool same = record.image_checksum == trailer.file && record.min_txid == header.min_txid &&
              record.max_txid == header.max_txid && record.commit == header.commit &&
              (record.page_size == header.page_size);
  if (!same) return corrupt(set.place, "the envelope and the change set in it do not belong together");
  if (header.has_checksums() && record.post != trailer.post_apply)
    return corrupt(set.place, "envelope and change set disagree on the database's checksum");
  return {};
}

Result<ltx::Summary> verify_change_set(const ChangeSet& set) {
  FileSource source = set.source();
  auto summary = ltx::verify(source);
  if (!summary) return summary.error().with(set.place);
  RILL_TRY(check_envelope(set, summary->header, summary->trailer));
  if (summary->size != set.size) return corrupt(set.place, "something follows the change set");
  return summary;
}

}  // namespace rillfs::cmd
