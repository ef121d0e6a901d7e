// The byte stream of a connection: frames, messages, their conversion, snapshot batches. Input: one byte (how
// the stream arrives: in pieces of so many bytes, 0 at once), then the stream.
#include <map>

#include "replication/stream/convert.h"
#include "replication/stream/page_batch.h"
#include "replication/wire/frame.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

struct Received {
  std::vector<wire::Frame> frames;
  std::optional<Error> error;
  std::size_t pending = 0;
};

Received receive(Bytes stream, std::size_t piece) {
  Received received;
  wire::FrameParser parser;
  while (!stream.empty()) {
    MutableBytes space = parser.space();
    require(!space.empty(), "there is room while a frame is incomplete");
    const std::size_t size = std::min({piece, space.size(), stream.size()});
    std::copy_n(stream.begin(), size, space.begin());
    parser.filled(size);
    stream = stream.subspan(size);
    for (;;) {
      auto frame = parser.next();
      if (!frame) {
        received.error = frame.error();
        return received;
      }
      if (!*frame) break;
      received.frames.push_back(std::move(**frame));
    }
  }
  received.pending = parser.pending();
  return received;
}

void require_same(const Received& one, const Received& other) {
  require(one.frames.size() == other.frames.size(), "however it arrives: as many frames");
  for (std::size_t i = 0; i < one.frames.size(); ++i) {
    require(one.frames[i].message.SerializeAsString() == other.frames[i].message.SerializeAsString() &&
                one.frames[i].payload == other.frames[i].payload,
            "however it arrives: the same frames");
  }
  require(one.error.has_value() == other.error.has_value(), "however it arrives: the same end");
  require(one.error || one.pending == other.pending, "however it arrives: as much is left");
}

void check_message(const wire::Message& message) {
  const std::string bytes = message.SerializeAsString();
  wire::Message again;
  require(again.ParseFromString(bytes) && again.SerializeAsString() == bytes, "a message comes back");
}

void check_announce(const wire::Announce& announce) {
  auto state = stream::from_wire(announce);
  if (!state) return;
  require(stream::is_database_path(state->info.path), "a name is a relative path");
  auto again = stream::from_wire(stream::announce_message(*state).announce());
  require(again && again->info == state->info && again->position == state->position,
          "an announcement comes back");
}

void check_change_set(const wire::ChangeSet& change_set) {
  auto info = stream::from_wire(change_set);
  if (!info) return;
  require(info->post.txid > info->pre.txid, "a change set leads forward");
  auto again = stream::from_wire(stream::change_set_message(DatabaseId{1}, *info).change_set());
  require(
      again && again->pre == info->pre && again->post == info->post && again->image_size == info->image_size,
      "a change set comes back");
}

/// The pages of a batch, put into a batch of our own, are the same pages.
void check_pages(const wire::SnapshotPages& pages, Bytes payload) {
  for (std::uint32_t page_size : {512u, 4096u, 65536u}) {
    stream::PageBatch batch(page_size);
    std::vector<std::pair<Pgno, Buffer>> all;
    auto walked =
        stream::for_each_page(pages, payload, page_size, [&](Pgno pgno, Bytes page) -> Result<void> {
          require(page.size() == page_size, "a page has the page size");
          require(all.empty() || all.back().first < pgno, "pages ascend");
          all.emplace_back(pgno, Buffer(page.begin(), page.end()));
          if (batch.has_room()) require(batch.add(pgno, page).has_value(), "they fit into a batch of ours");
          return {};
        });
    require(all.size() * page_size <= wire::kPayloadSizeMax, "a batch is bounded");
    if (!walked || all.size() != batch.page_count() || all.empty()) continue;
    Buffer out;
    batch.append_frame(DatabaseId{1}, out);
    Received again = receive(out, out.size());
    require(again.frames.size() == 1 && !again.error, "a batch of ours is a frame");
    std::size_t n = 0;
    auto same =
        stream::for_each_page(again.frames[0].message.snapshot_pages(), again.frames[0].payload, page_size,
                              [&](Pgno pgno, Bytes page) -> Result<void> {
                                require(pgno == all[n].first && std::ranges::equal(page, all[n].second),
                                        "the same pages come back");
                                ++n;
                                return {};
                              });
    require(same.has_value() && n == all.size(), "all pages come back");
  }
}

void check_frame(const wire::Frame& frame) {
  const wire::Message& message = frame.message;
  require(frame.payload.size() == wire::payload_size(message), "a payload has its size");
  require(frame.payload.size() <= wire::kPayloadSizeMax, "a payload is bounded");
  check_message(message);
  (void)stream::database_of(message);
  if (message.has_announce()) check_announce(message.announce());
  if (message.has_change_set()) check_change_set(message.change_set());
  if (message.has_hello()) (void)stream::from_wire(message.hello(), "peer");
  if (message.has_snapshot_pages()) check_pages(message.snapshot_pages(), frame.payload);
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(wire_frame) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  if (input.empty()) return;
  Bytes stream = input.subspan(1);
  const Received whole = receive(stream, stream.size());
  if (input[0] != 0) require_same(whole, receive(stream, input[0]));
  for (const wire::Frame& frame : whole.frames) check_frame(frame);
}
