// What arrives of databases, put together: the Applier between hostile frames and a sink that says no. Input:
// events. Each is 1 byte for the kind, 1 for what the sink answers, 1 for the database, then what the kind
// takes.
#include "replication/stream/applier.h"

#include "replication/stream/convert.h"
#include "support/input.h"
#include "support/memory_file_system.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

using namespace stream;

constexpr std::size_t kImageMemoryMax = 600;

/// Holds the applier to the contract of Sink: the order of calls, ascending pages, whole images.
class CheckingSink final : public Sink {
 public:
  explicit CheckingSink(MemoryFileSystem& files) : files_(files) {}
  /// The next calls answer with it.
  void answer(std::uint8_t how) { how_ = how; }

  std::vector<DatabaseState> list() override { return {}; }
  Result<void> announce(const DatabaseInfo& info) override {
    require(is_database_path(info.path) && info.mode <= 07777, "what is announced is checked");
    return result();
  }
  Result<void> drop(DatabaseId id, bool) override {
    RILL_TRY(result());
    open_.erase(id);
    return {};
  }
  Result<void> begin_snapshot(const DatabaseInfo& info, const Position& start, std::uint32_t page_size, Pgno,
                              History) override {
    require(start.checksum.value & Checksum::kFlag, "a snapshot starts at a position");
    RILL_TRY(result());
    open_[info.id] = {page_size, Pgno{}};
    return {};
  }
  Result<void> begin_difference(const DatabaseInfo& info, const Position& start, std::uint32_t page_size,
                                History history) override {
    return begin_snapshot(info, start, page_size, Pgno{}, history);
  }
  Result<std::vector<std::uint64_t>> page_sums(DatabaseId id, Pgno first, std::uint32_t count) override {
    require(open_.contains(id), "sums are asked for within a snapshot");
    require(first != Pgno{} && count != 0 && count <= wire::kComparedPageCountMax,
            "sums are asked of a few pages");
    RILL_TRY(result());
    return std::vector<std::uint64_t>(count, first.value);
  }
  Result<void> snapshot_page(DatabaseId id, Pgno pgno, Bytes page) override {
    auto at = open_.find(id);
    require(at != open_.end(), "pages come within a snapshot");
    require(page.size() == at->second.page_size && pgno != Pgno{}, "a page is a page");
    RILL_TRY(result());
    return {};
  }
  Result<void> end_snapshot(DatabaseId id, const Position&) override {
    require(open_.contains(id), "only a snapshot that was begun ends");
    RILL_TRY(result());
    open_.erase(id);
    return {};
  }
  Result<void> change_set(DatabaseId id, const ChangeSetInfo& info, const Image& image) override {
    require(!open_.contains(id), "no change set comes within a snapshot");
    std::uint64_t size = image.bytes.size();
    if (!image.file_path.empty()) {
      require(image.bytes.empty(), "an image is in one place");
      auto file = files_.open(image.file_path, OpenMode::kRead, "test");
      require(file.has_value(), "a spooled image is there");
      size = (*file)->size("test").value();
    }
    require(size == info.image_size, "an image is whole");
    require((image.file_path.empty()) == (size <= kImageMemoryMax),
            "large images are spooled, small ones not");
    return result();
  }
  std::string spool_directory() const override { return "spool"; }
  void listen(std::function<void(const Progress&)>) override {}

 private:
  struct Open {
    std::uint32_t page_size = 0;
    Pgno last;
  };
  Result<void> result() {
    constexpr ErrorCode kCodes[] = {ErrorCode::kNoSpace,          ErrorCode::kBusy,    ErrorCode::kCorrupt,
                                    ErrorCode::kPositionMismatch, ErrorCode::kInvalid, ErrorCode::kNotFound};
    if (how_ < 0x80) return {};
    if (how_ & 0x40 && ++calls_ % 2) return {};  // every second call
    return make_error(kCodes[how_ % 6], "as the input wants");
  }
  MemoryFileSystem& files_;
  std::map<DatabaseId, Open> open_;
  std::uint8_t how_ = 0;
  int calls_ = 0;
};

void place(Input& in, wire::Place* place) {
  place->set_epoch(1);
  place->set_txid(in.byte());
  place->set_checksum(in.byte() == 0 ? 0 : Checksum::kFlag | in.byte());
}

wire::Frame payload_frame(wire::Message message, Bytes payload) {
  if (message.has_chunk()) message.mutable_chunk()->set_size(static_cast<std::uint32_t>(payload.size()));
  if (message.has_snapshot_pages())
    message.mutable_snapshot_pages()->set_size(static_cast<std::uint32_t>(payload.size()));
  return {message, Buffer(payload.begin(), payload.end())};
}

wire::Frame pages_frame(Input& in, std::uint64_t id) {
  wire::Message message;
  auto* pages = message.mutable_snapshot_pages();
  pages->set_id(id);
  for (int runs = in.byte() % 4; runs > 0; --runs) {
    auto* run = pages->add_runs();
    run->set_first(in.number<std::uint32_t>());
    run->set_count(in.byte());
  }
  const std::size_t size = in.number<std::uint16_t>();
  if (in.byte() & 1) {  // as many zeroes
    const Buffer zeroes(size);
    pages->set_raw_size(static_cast<std::uint32_t>(size));
    return payload_frame(message, zeroes);
  }
  pages->set_raw_size(in.number<std::uint32_t>());
  return payload_frame(message, in.bytes(size));
}

wire::Frame chunk_frame(Input& in, std::uint64_t id) {
  wire::Message message;
  message.mutable_chunk()->set_id(id);
  const Buffer bytes(in.number<std::uint16_t>() % 2000 + 1, in.byte());
  return payload_frame(message, bytes);
}

wire::Frame frame(Input& in, int kind, std::uint64_t id) {
  wire::Message message;
  switch (kind) {
    case 0: {
      auto* announce = message.mutable_announce();
      announce->set_id(id);
      announce->set_mode(in.byte() << 5);
      announce->set_path(in.text(in.byte() % 16));
      place(in, announce->mutable_position());
      break;
    }
    case 1:
      message.mutable_drop()->set_id(id);
      break;
    case 2: {
      auto* begin = message.mutable_snapshot_begin();
      begin->set_id(id);
      begin->set_page_size(in.number<std::uint16_t>());
      begin->set_page_count(in.number<std::uint32_t>());
      begin->set_difference(begin->page_count() & 1);
      place(in, begin->mutable_start());
      break;
    }
    case 3:
      return pages_frame(in, id);
    case 4: {
      message.mutable_snapshot_end()->set_id(id);
      place(in, message.mutable_snapshot_end()->mutable_end());
      break;
    }
    case 5: {
      auto* change_set = message.mutable_change_set();
      change_set->set_id(id);
      place(in, change_set->mutable_pre());
      place(in, change_set->mutable_post());
      change_set->set_image_size(in.number<std::uint16_t>());
      break;
    }
    case 6:
      return chunk_frame(in, id);
    case 8: {
      auto* wanted = message.mutable_sums_wanted();
      wanted->set_id(id);
      for (int runs = in.byte() % 4; runs > 0; --runs) {
        auto* run = wanted->add_runs();
        run->set_first(in.number<std::uint32_t>());
        run->set_count(in.number<std::uint16_t>());
      }
      wanted->set_range(in.byte());
      break;
    }
    default: {  // whatever a peer may say
      Bytes bytes = in.bytes(in.byte());
      if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) message.Clear();
      return payload_frame(message, in.bytes(in.byte()));
    }
  }
  return {message, {}};
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(applier) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  MemoryFileSystem files;
  CheckingSink sink(files);
  std::map<DatabaseId, std::unique_ptr<stream::Applier>> appliers;
  for (int n = 0; n < 300 && !in.empty(); ++n) {
    const std::uint8_t choice = in.byte();
    const int kind = choice < 0xf0 ? choice % 8 : 8;
    const std::uint8_t answer = in.byte();
    const std::uint8_t which = in.byte();
    const wire::Frame next = frame(in, kind, std::uint64_t{1} + which % 3);
    auto id = stream::database_of(next.message);
    if (!id) continue;
    auto& applier = appliers[*id];
    if (!applier)
      applier = std::make_unique<stream::Applier>(sink, files, *id, which & 0x80, kImageMemoryMax);
    sink.answer(answer);
    stream::Outcome outcome = applier->process(next);
    require(outcome.verdict == stream::Verdict::kDone || !outcome.error.message.empty(),
            "a refusal says why");
    if (outcome.verdict == stream::Verdict::kRetry) {
      sink.answer(0);
      outcome = applier->process(next);
      require(outcome.verdict != stream::Verdict::kRetry, "what could not be done can be done later");
    }
    if (outcome.verdict == stream::Verdict::kProtocol) return;  // the session is over
  }
  appliers.clear();
  require(files.contents().empty(), "no spooled image is left behind");
}
