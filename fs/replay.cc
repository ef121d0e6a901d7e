#include "fs/replay.h"

#include "replication/base/failpoint.h"
#include "replication/log/reader.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/decoder.h"

namespace rillfs {
namespace {

constexpr Label kReplay = "recovery: replay";

Result<std::vector<PageChange>> write_pages(ByteSource& source, File& target, std::uint32_t page_size) {
  std::vector<PageChange> changes;
  ltx::Decoder decoder(source);
  RILL_TRY(decoder.begin());
  for (;;) {
    RILL_ASSIGN(auto page, decoder.next());
    if (!page) break;
    failpoint::reach("recovery.before_page");
    RILL_TRY(target.write_at(page->data, (std::uint64_t{page->pgno.value} - 1) * page_size, kReplay));
    changes.push_back({page->pgno, ltx::page_checksum(page->pgno, page->data)});
  }
  RILL_TRY(decoder.finish());
  return changes;
}

}  // namespace

Result<Replayed> replay(FileSystem& files, const std::string& log_directory, DatabaseId id,
                        const Position& after, Txid end, File& target, Content& content) {
  Replayed replayed;
  RILL_ASSIGN(auto reader, log::open_reader(files, log_directory, id, after));
  for (;;) {
    RILL_ASSIGN(auto record, reader.next(end));
    if (!record) break;
    auto source = reader.source();
    RILL_ASSIGN(auto changes, write_pages(source, target, record->page_size));
    // A snapshot begins anew, also where a branch that lost had gone further than it.
    const bool anew = record->is_snapshot();
    const bool counted = anew || record->max_txid > content.position().txid;
    if (anew) content = Content{};
    // What is counted already was checked when it was.
    if (counted && !content.grows_completely(changes, record->commit, record->page_size)) {
      return make_error(ErrorCode::kCorrupt, "the change set to " + to_text(record->post_position()) +
                                                 " does not bring every page that it adds");
    }
    RILL_TRY(target.truncate(record->database_size(), kReplay));
    failpoint::reach("recovery.after_record");
    ++replayed.records;
    replayed.pages += changes.size();
    if (!counted) continue;
    content.apply(changes, record->commit, record->page_size, record->post_position());
    if (content.sum() != record->post) {
      return make_error(ErrorCode::kCorrupt, "after replaying " + to_text(record->post_position()) +
                                                 " the pages sum up to " + to_hex(content.sum().value));
    }
  }
  return replayed;
}

}  // namespace rillfs
