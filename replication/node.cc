#include "replication/node.h"

#include <nlohmann/json.hpp>

namespace rillfs {

namespace {

constexpr std::size_t kIdentitySizeMax = 4096;

std::string id_path(const std::string& directory) { return directory + "/node.id"; }
std::string cluster_path(const std::string& directory) { return directory + "/cluster.json"; }

Error corrupt(const std::string& path) {
  return make_error(ErrorCode::kCorrupt,
                    path +
                        " is damaged; it is not replaced, because this node would become another one. "
                        "Restore it from a backup, or start a replica with an empty data directory");
}

Bytes as_bytes(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

Result<NodeId> load_id(FileSystem& files, const std::string& directory, Random& random) {
  std::string path = id_path(directory);
  auto content = read_file(files, path, kIdentitySizeMax, "node: read id");
  if (!content && content.error().code == ErrorCode::kNotFound) {
    NodeId id{random.next_id()};
    RILL_TRY(replace_file(files, path, as_bytes(to_hex(id.value) + "\n"), "node: make id"));
    return id;
  }
  if (!content) return std::move(content).error();
  std::string text(content->begin(), content->end());
  if (text.size() != 17 || text.back() != '\n') return corrupt(path);
  auto id = from_hex(std::string_view(text).substr(0, 16));
  if (!id || *id == 0) return corrupt(path);
  return NodeId{*id};
}

Result<Membership> parse_membership(const Buffer& content, const std::string& path) {
  auto json = nlohmann::json::parse(content.begin(), content.end(), nullptr, false);
  if (!json.is_object()) return corrupt(path);
  auto cluster = json.find("cluster_id"), epoch = json.find("epoch"), role = json.find("role");
  if (cluster == json.end() || !cluster->is_string() || epoch == json.end() || !epoch->is_number_unsigned() ||
      role == json.end() || !role->is_string())
    return corrupt(path);
  // Older builds do not say who the primary is.
  const auto primary = json.value("primary", nlohmann::json(to_hex(0)));
  const auto contested = json.value("contested", nlohmann::json(false));
  const auto primary_id = primary.is_string() ? from_hex(primary.get<std::string>()) : std::nullopt;
  if (!primary_id || !contested.is_boolean()) return corrupt(path);
  auto id = from_hex(cluster->get<std::string>());
  auto role_text = role->get<std::string>();
  if (!id || (role_text != "primary" && role_text != "replica")) return corrupt(path);
  const Role is = role_text == "primary" ? Role::kPrimary : Role::kReplica;
  return Membership{ClusterId{*id}, Epoch{epoch->get<std::uint64_t>()}, is, NodeId{*primary_id},
                    contested.get<bool>()};
}

Result<Membership> load_membership(FileSystem& files, const std::string& directory) {
  std::string path = cluster_path(directory);
  auto content = read_file(files, path, kIdentitySizeMax, "node: read cluster");
  if (!content && content.error().code == ErrorCode::kNotFound) return Membership{};
  if (!content) return std::move(content).error();
  return parse_membership(*content, path);
}

Result<void> check_not_ourselves(NodeId id, const PeerIdentity& peer) {
  if (peer.node != id) return {};
  return make_error(
      ErrorCode::kInvalid,
      peer.address + " has our own node id " + to_hex(id.value) +
          ": either this node is connected to itself (check the primary's address), or its data "
          "directory is a copy of this one (start the copy with an empty data directory)");
}

Error foreign_cluster(const PeerIdentity& peer, ClusterId ours) {
  return make_error(
      ErrorCode::kInvalid,
      peer.address + " belongs to cluster " + to_hex(peer.cluster.value) + ", this node to " +
          to_hex(ours.value) +
          ": check the primary's address; to make a replica join another cluster, start it with "
          "an empty data directory");
}

}  // namespace

Result<std::unique_ptr<Node>> Node::open(FileSystem& files, std::string directory, Random& random) {
  RILL_TRY(files.make_directories(directory, "node: make data directory"));
  RILL_ASSIGN(Membership membership, load_membership(files, directory));
  RILL_ASSIGN(NodeId id, load_id(files, directory, random));
  return std::unique_ptr<Node>(new Node(files, std::move(directory), id, membership));
}

Membership Node::membership() const {
  Lock lock(mutex_);
  return membership_;
}

Result<void> Node::persist(const Membership& next) {
  if (next == membership_) return {};
  nlohmann::json json = {{"cluster_id", to_hex(next.cluster.value)},
                         {"epoch", next.epoch.value},
                         {"role", next.role == Role::kPrimary ? "primary" : "replica"},
                         {"primary", to_hex(next.primary.value)},
                         {"contested", next.contested}};
  RILL_TRY(
      replace_file(files_, cluster_path(directory_), as_bytes(json.dump() + "\n"), "node: write cluster"));
  membership_ = next;
  return {};
}

Result<void> Node::become_primary(Random& random) {
  Lock lock(mutex_);
  Membership next = membership_;
  if (next.cluster == ClusterId{}) next.cluster = ClusterId{random.next_id()};
  if (next.role != Role::kPrimary) {
    next.epoch = Epoch{next.epoch.value + 1};
    next.contested = false;
  }
  next.role = Role::kPrimary;
  next.primary = id_;
  return persist(next);
}

Result<void> Node::become_replica() {
  Lock lock(mutex_);
  Membership next = membership_;
  next.role = Role::kReplica;
  return persist(next);
}

Result<void> Node::meet_primary(const PeerIdentity& peer) {
  Lock lock(mutex_);
  RILL_TRY(check_not_ourselves(id_, peer));
  if (peer.role != Role::kPrimary)
    return make_error(ErrorCode::kReadOnly,
                      peer.address + " is a replica: configure the primary's address, or make it primary");
  if (peer.cluster == ClusterId{} || peer.epoch == Epoch{})
    return make_error(ErrorCode::kInvalid,
                      peer.address + " says it is primary but names no cluster or epoch");
  Membership next = membership_;
  if (next.cluster != ClusterId{} && next.cluster != peer.cluster)
    return foreign_cluster(peer, membership_.cluster);
  if (peer.epoch < next.epoch)
    return make_error(ErrorCode::kFenced, peer.address + " is primary of epoch " +
                                              std::to_string(peer.epoch.value) + ", but epoch " +
                                              std::to_string(next.epoch.value) +
                                              " has been seen here: it has been replaced. Point this node to "
                                              "the present primary, or restart the old one as a replica");
  const bool same_epoch = peer.epoch == next.epoch;
  const bool by_another = next.primary != NodeId{} && next.primary != peer.node;
  next.contested = same_epoch && (next.contested || by_another);
  next.primary = peer.node;
  next.cluster = peer.cluster;
  next.epoch = peer.epoch;
  return persist(next);
}

Result<void> Node::meet_subscriber(const PeerIdentity& peer) {
  Membership ours = membership();
  RILL_TRY(check_not_ourselves(id_, peer));
  if (ours.role != Role::kPrimary)
    return make_error(ErrorCode::kReadOnly,
                      "this node is not the primary: point the replica to the primary's address");
  if (peer.cluster != ClusterId{} && peer.cluster != ours.cluster) return foreign_cluster(peer, ours.cluster);
  if (peer.epoch > ours.epoch) {
    if (newer_epoch_) newer_epoch_(peer.epoch, peer);
    return make_error(ErrorCode::kFenced,
                      peer.address + " has seen epoch " + std::to_string(peer.epoch.value) +
                          ", this primary is of epoch " + std::to_string(ours.epoch.value) +
                          ": another node has become primary since. Restart this one as "
                          "a replica of it");
  }
  return {};
}

}  // namespace rillfs
