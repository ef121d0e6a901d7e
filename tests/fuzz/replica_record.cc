// What both ends of a stream keep of what the other one says: ReplicaRecord (a primary's, of
// acknowledgements) and ReplicaProgress (a replica's, of announcements, change sets and heartbeats). Input:
// events of 1 byte for the kind, 1 for the database, and numbers of 8 bytes as the kind takes them.
#include "replication/stream/replica_record.h"

#include "replication/stream/replica_progress.h"
#include "support/input.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

using namespace stream;

struct SettableClock final : Clock {
  std::int64_t now_ms = 1'700'000'000'000;
  Monotonic monotonic() const override { return {}; }
  std::int64_t wall_ms() const override { return now_ms; }
};

class Ends {
 public:
  void event(Input& in) {
    const int kind = in.byte() % 12;
    const DatabaseId id{std::uint64_t{1} + in.byte() % 3};
    if (kind < 6) {
      peer_event(kind, id, in);
    } else {
      local_event(kind, id, in);
    }
  }
  void check() {
    for (const DatabaseProgress& each : progress_.databases()) check(each);
    std::vector<DatabaseState> now;
    for (std::uint64_t id : {1, 2, 3})
      now.push_back({{DatabaseId{id}, "db"}, {Epoch{1}, newest_}, newest_.value});
    for (const DatabaseProgress& each : record_.status(now).databases) check(each);
    (void)progress_.caught_up();
  }

 private:
  static void check(const DatabaseProgress& progress) {
    require(progress.lag_ms >= 0, "a lag is not negative");
    require(progress.lag_transactions <= progress.newest.value, "a lag is no longer than the history");
    require(progress.snapshot.remaining_ms >= 0, "time left is not negative");
  }
  ChangeSetInfo change_set(Input& in) {
    ChangeSetInfo info;
    info.post.txid = Txid{in.number<std::uint64_t>()};
    info.timestamp_ms = static_cast<std::int64_t>(in.number<std::uint64_t>());
    info.image_size = in.number<std::uint64_t>();
    info.log_offset = in.number<std::uint64_t>();
    return info;
  }
  DatabaseState state(DatabaseId id, Input& in) {
    return {{id, "db"}, {Epoch{1}, Txid{in.number<std::uint64_t>()}}, in.number<std::uint64_t>()};
  }
  /// What comes from the other node: any number may be in it.
  void peer_event(int kind, DatabaseId id, Input& in) {
    switch (kind) {
      case 0:
        return progress_.announced(state(id, in));
      case 1:
        return progress_.received(id, change_set(in));
      case 2: {
        wire::Heartbeat heartbeat;
        heartbeat.set_wall_ms(static_cast<std::int64_t>(in.number<std::uint64_t>()));
        auto* newest = heartbeat.add_backlog();
        newest->set_id(id.value);
        newest->set_txid(in.number<std::uint64_t>());
        newest->set_log_offset(in.number<std::uint64_t>());
        return progress_.heard(heartbeat);
      }
      case 3:
        return progress_.snapshot_began(id, in.number<std::uint32_t>(), std::uint32_t{512} << in.byte() % 8);
      case 4:
        return progress_.snapshot_ended(id, {Epoch{1}, Txid{in.number<std::uint64_t>()}}, in.byte() & 1);
      default: {
        const Txid logged{in.number<std::uint64_t>()};
        return record_.acknowledged(id, logged, Txid{in.number<std::uint64_t>()});
      }
    }
  }
  void local_event(int kind, DatabaseId id, Input& in) {
    switch (kind) {
      case 6:
        return progress_.connected({state(id, in)});
      case 7:
        return in.byte() & 1 ? progress_.disconnected() : progress_.catalog_ended();
      case 8: {
        const Position at{Epoch{1}, Txid{in.number<std::uint64_t>()}};
        progress_.snapshot_pages(id, in.number<std::uint32_t>());
        return progress_.progressed({id, at, at});
      }
      case 9: {
        const DatabaseState now = state(id, in);
        newest_ = std::max(newest_, now.position.txid);
        record_.announced(now);
        return record_.noticed(id);
      }
      case 10: {
        const ChangeSetInfo info = change_set(in);
        newest_ = std::max(newest_, info.post.txid);
        return record_.sent(id, info);
      }
      default:
        clock_.now_ms += static_cast<std::int8_t>(in.byte()) * 1000;
        record_.snapshot_began(id, {}, in.number<std::uint32_t>(), 4096);
        return record_.snapshot_pages(id, in.byte());
    }
  }

  SettableClock clock_;
  ReplicaRecord record_{NodeId{1}, "peer", clock_};
  ReplicaProgress progress_{clock_};
  Txid newest_;
};

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(replica_record) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  Ends ends;
  for (int n = 0; n < 500 && !in.empty(); ++n) {
    ends.event(in);
    ends.check();
  }
}
