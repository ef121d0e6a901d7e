#include "fs/image_reader.h"

#include "replication/ltx/checksum.h"

namespace rillfs {
namespace {

Result<ImageSummary> read_pages(ByteSource& source, const std::function<Result<void>(Pgno, Bytes)>& page) {
  ltx::Decoder decoder(source);
  ImageSummary summary;
  RILL_ASSIGN(summary.header, decoder.begin());
  for (;;) {
    RILL_ASSIGN(auto next, decoder.next());
    if (!next) break;
    summary.changes.push_back({next->pgno, ltx::page_checksum(next->pgno, next->data)});
    if (page) RILL_TRY(page(next->pgno, next->data));
  }
  RILL_ASSIGN(summary.trailer, decoder.finish());
  return summary;
}

}  // namespace

Result<ImageSummary> read_image(FileSystem& files, const stream::ChangeSetInfo& info,
                                const stream::Sink::Image& image,
                                const std::function<Result<void>(Pgno, Bytes)>& page) {
  std::unique_ptr<File> file;
  std::unique_ptr<ByteSource> source;
  if (image.file_path.empty()) {
    source = std::make_unique<BufferSource>(image.bytes);
  } else {
    RILL_ASSIGN(file, files.open(image.file_path, OpenMode::kRead, "receive: read image"));
    source = std::make_unique<FileSource>(*file, 0, info.image_size, "receive: read image");
  }
  RILL_ASSIGN(ImageSummary summary, read_pages(*source, page));
  const bool announced = summary.header.max_txid == info.post.txid &&
                         summary.trailer.post_apply == info.post.checksum &&
                         (summary.header.is_snapshot() || summary.header.pre_apply == info.pre.checksum);
  if (announced) return summary;
  return make_error(ErrorCode::kCorrupt,
                    "the change set is not the one that was announced as " + to_text(info.post));
}

}  // namespace rillfs
