// Between the protocol's messages and our types. Everything that comes from the wire is checked here once.
#pragma once

#include "replication/node.h"
#include "replication/stream/databases.h"
#include "wire/rillfs.pb.h"  // generated from rillfs.proto

namespace rillfs::stream {

void to_wire(const Position& position, wire::Place* place);
/// kInvalid without a checksum.
Result<Position> from_wire(const wire::Place& place);

wire::History to_wire(History history);
/// What is none of ours is kUnknown.
History from_wire(wire::History history);

wire::Message announce_message(const DatabaseState& state);
/// kInvalid for a name that is absolute, has empty, "." or ".." components or a NUL, or is too long.
Result<DatabaseState> from_wire(const wire::Announce& announce);

wire::Message change_set_message(DatabaseId id, const ChangeSetInfo& info);
/// kInvalid when it does not lead from one position to the next, or its image is empty or beyond the limit.
Result<ChangeSetInfo> from_wire(const wire::ChangeSet& change_set);

/// Hello of this node.
wire::Message hello_message(NodeId id, const Membership& membership, const std::string& advertise_address);
/// The newest version that both sides speak; kUnsupported if there is none.
Result<std::uint32_t> common_version(const wire::Hello& hello, const std::string& address);
/// Checks protocol version and node id. kUnsupported says which side to upgrade. `address` for messages.
Result<PeerIdentity> from_wire(const wire::Hello& hello, const std::string& address);

/// Database id of any message about one database; nothing for the others.
std::optional<DatabaseId> database_of(const wire::Message& message);

}  // namespace rillfs::stream
