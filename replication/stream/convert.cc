#include "replication/stream/convert.h"

#include <algorithm>

#include "replication/wire/limits.h"

namespace rillfs::stream {

namespace {

#ifndef RILLFS_VERSION
#define RILLFS_VERSION "0.1.0"
#endif

Error invalid(std::string message) { return make_error(ErrorCode::kInvalid, std::move(message)); }

}  // namespace

bool is_database_path(std::string_view path) {
  if (path.empty() || path.size() > wire::kPathSizeMax || path.find('\0') != path.npos) return false;
  for (std::size_t begin = 0; begin <= path.size();) {
    std::size_t end = std::min(path.find('/', begin), path.size());
    std::string_view component = path.substr(begin, end - begin);
    if (component.empty() || component == "." || component == "..") return false;
    begin = end + 1;
  }
  return true;
}

void to_wire(const Position& position, wire::Place* place) {
  place->set_epoch(position.epoch.value);
  place->set_txid(position.txid.value);
  place->set_checksum(position.checksum.value);
}

Result<Position> from_wire(const wire::Place& place) {
  if ((place.checksum() & Checksum::kFlag) == 0) return invalid("a position without a checksum");
  return Position{Epoch{place.epoch()}, Txid{place.txid()}, Checksum{place.checksum()}};
}

wire::History to_wire(History history) {
  switch (history) {
    case History::kUnknown:
      break;
    case History::kShared:
      return wire::HISTORY_SHARED;
    case History::kAnother:
      return wire::HISTORY_ANOTHER;
  }
  return wire::HISTORY_UNKNOWN;
}

History from_wire(wire::History history) {
  if (history == wire::HISTORY_SHARED) return History::kShared;
  return history == wire::HISTORY_ANOTHER ? History::kAnother : History::kUnknown;
}

wire::Message announce_message(const DatabaseState& state) {
  wire::Message message;
  auto* announce = message.mutable_announce();
  announce->set_id(state.info.id.value);
  announce->set_path(state.info.path);
  announce->set_mode(state.info.mode);
  announce->set_uid(state.info.uid);
  announce->set_gid(state.info.gid);
  to_wire(state.position, announce->mutable_position());
  return message;
}

Result<DatabaseState> from_wire(const wire::Announce& announce) {
  if (announce.id() == 0) return invalid("a database without an id");
  if (!is_database_path(announce.path())) return invalid("a database name that is no relative path");
  if (announce.mode() > 07777) return invalid("a database mode beyond the permission bits");
  DatabaseState state;
  state.info = {DatabaseId{announce.id()}, announce.path(), announce.mode(), announce.uid(), announce.gid()};
  RILL_ASSIGN(state.position, from_wire(announce.position()));
  return state;
}

wire::Message change_set_message(DatabaseId id, const ChangeSetInfo& info) {
  wire::Message message;
  auto* change_set = message.mutable_change_set();
  change_set->set_id(id.value);
  to_wire(info.pre, change_set->mutable_pre());
  to_wire(info.post, change_set->mutable_post());
  change_set->set_image_size(info.image_size);
  change_set->set_timestamp_ms(info.timestamp_ms);
  change_set->set_log_offset(info.log_offset);
  change_set->set_log_size(info.log_size);
  return message;
}

Result<ChangeSetInfo> from_wire(const wire::ChangeSet& change_set) {
  ChangeSetInfo info;
  RILL_ASSIGN(info.pre, from_wire(change_set.pre()));
  RILL_ASSIGN(info.post, from_wire(change_set.post()));
  if (info.post.txid <= info.pre.txid) return invalid("a change set that leads backwards");
  info.image_size = change_set.image_size();
  if (info.image_size == 0 || info.image_size > wire::kImageSizeMax)
    return invalid("a change set of " + std::to_string(info.image_size) + " bytes");
  info.timestamp_ms = change_set.timestamp_ms();
  info.log_offset = change_set.log_offset();
  info.log_size = change_set.log_size();
  return info;
}

wire::Message hello_message(NodeId id, const Membership& membership, const std::string& advertise_address) {
  wire::Message message;
  auto* hello = message.mutable_hello();
  hello->set_protocol_version(wire::kProtocolVersionMin);
  hello->set_newest_version(wire::kProtocolVersion);
  hello->set_cluster_id(membership.cluster.value);
  hello->set_node_id(id.value);
  hello->set_epoch(membership.epoch.value);
  hello->set_advertise_address(advertise_address);
  hello->set_role(membership.role == Role::kPrimary ? wire::ROLE_PRIMARY : wire::ROLE_REPLICA);
  hello->set_software_version(RILLFS_VERSION);
  return message;
}

Result<std::uint32_t> common_version(const wire::Hello& hello, const std::string& address) {
  const std::uint32_t oldest = hello.protocol_version();
  const std::uint32_t newest = std::max(oldest, hello.newest_version());
  const std::uint32_t common = std::min(newest, wire::kProtocolVersion);
  if (common >= oldest && common >= wire::kProtocolVersionMin) return common;
  return make_error(ErrorCode::kUnsupported,
                    address + " speaks protocol version " + std::to_string(newest) + " (RillFS " +
                        hello.software_version().substr(0, 64) + "), this node version " +
                        std::to_string(wire::kProtocolVersion) + " (RillFS " RILLFS_VERSION "): upgrade " +
                        (oldest > wire::kProtocolVersion ? "this node" : "the other node"));
}

Result<PeerIdentity> from_wire(const wire::Hello& hello, const std::string& address) {
  RILL_TRY(common_version(hello, address));
  if (hello.node_id() == 0) return invalid("a hello without a node id");
  Role role = hello.role() == wire::ROLE_PRIMARY   ? Role::kPrimary
              : hello.role() == wire::ROLE_REPLICA ? Role::kReplica
                                                   : Role::kNone;
  return PeerIdentity{NodeId{hello.node_id()}, ClusterId{hello.cluster_id()}, Epoch{hello.epoch()}, role,
                      address};
}

std::optional<DatabaseId> database_of(const wire::Message& message) {
  using wire::Message;
  switch (message.body_case()) {
    case Message::kAnnounce:
      return DatabaseId{message.announce().id()};
    case Message::kDrop:
      return DatabaseId{message.drop().id()};
    case Message::kSnapshotBegin:
      return DatabaseId{message.snapshot_begin().id()};
    case Message::kSnapshotPages:
      return DatabaseId{message.snapshot_pages().id()};
    case Message::kSnapshotEnd:
      return DatabaseId{message.snapshot_end().id()};
    case Message::kChangeSet:
      return DatabaseId{message.change_set().id()};
    case Message::kSumsWanted:
      return DatabaseId{message.sums_wanted().id()};
    case Message::kChunk:
      return DatabaseId{message.chunk().id()};
    default:
      return std::nullopt;
  }
}

}  // namespace rillfs::stream
