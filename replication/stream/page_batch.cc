#include "replication/stream/page_batch.h"

#include <lz4.h>

#include "replication/wire/frame.h"

namespace rillfs::stream {

namespace {

/// Runs of a batch whose pages are scattered; 13 bytes each, far below kMessageSizeMax.
constexpr int kRunCountMax = 2048;

Error invalid(const char* what) {
  return make_error(ErrorCode::kInvalid, std::string("snapshot pages: ") + what);
}

Result<Bytes> unpack(const wire::SnapshotPages& pages, Bytes payload, Buffer& raw) {
  if (pages.raw_size() == 0 || pages.raw_size() > wire::kPayloadSizeMax) return invalid("too many bytes");
  if (payload.size() == pages.raw_size()) return payload;
  raw.resize(pages.raw_size());
  int size =
      LZ4_decompress_safe(reinterpret_cast<const char*>(payload.data()), reinterpret_cast<char*>(raw.data()),
                          static_cast<int>(payload.size()), static_cast<int>(raw.size()));
  if (size < 0 || static_cast<std::size_t>(size) != raw.size()) return invalid("damaged LZ4 block");
  return Bytes(raw);
}

}  // namespace

bool PageBatch::has_room() const {
  return raw_.size() + page_size_ <= wire::kPayloadSizeMax &&
         message_.snapshot_pages().runs_size() < kRunCountMax;
}

Result<void> PageBatch::add(Pgno pgno, Bytes data) {
  if (data.size() != page_size_ || pgno <= last_) return invalid("the database yields no ascending pages");
  auto* pages = message_.mutable_snapshot_pages();
  if (pages->runs_size() > 0 && pgno == last_.next()) {
    auto* run = pages->mutable_runs(pages->runs_size() - 1);
    run->set_count(run->count() + 1);
  } else {
    auto* run = pages->add_runs();
    run->set_first(pgno.value);
    run->set_count(1);
  }
  last_ = pgno;
  append_bytes(raw_, data);
  return {};
}

void PageBatch::append_frame(DatabaseId id, Buffer& out) {
  Buffer packed(raw_.size());
  // Into a buffer one byte smaller: 0 unless it saves something.
  int size =
      LZ4_compress_default(reinterpret_cast<const char*>(raw_.data()), reinterpret_cast<char*>(packed.data()),
                           static_cast<int>(raw_.size()), static_cast<int>(raw_.size() - 1));
  Bytes payload = size > 0 ? Bytes(packed).first(static_cast<std::size_t>(size)) : Bytes(raw_);
  auto* pages = message_.mutable_snapshot_pages();
  pages->set_id(id.value);
  pages->set_raw_size(static_cast<std::uint32_t>(raw_.size()));
  pages->set_size(static_cast<std::uint32_t>(payload.size()));
  wire::append_frame(message_, out);
  append_bytes(out, payload);
}

Result<void> for_each_page(const wire::SnapshotPages& pages, Bytes payload, std::uint32_t page_size,
                           const std::function<Result<void>(Pgno, Bytes)>& page) {
  Buffer buffer;
  RILL_ASSIGN(Bytes raw, unpack(pages, payload, buffer));
  std::uint64_t last = 0;
  std::size_t offset = 0;
  for (const auto& run : pages.runs()) {
    std::uint64_t end = std::uint64_t{run.first()} + run.count();
    if (run.first() <= last || run.count() == 0 || end > std::uint64_t{UINT32_MAX})
      return invalid("page numbers that do not ascend");
    if (std::uint64_t{run.count()} * page_size > raw.size() - offset)
      return invalid("fewer bytes than pages");
    for (std::uint64_t pgno = run.first(); pgno < end; ++pgno, offset += page_size)
      RILL_TRY(page(Pgno{static_cast<std::uint32_t>(pgno)}, raw.subspan(offset, page_size)));
    last = end - 1;
  }
  if (offset != raw.size()) return invalid("more bytes than pages");
  return {};
}

}  // namespace rillfs::stream
