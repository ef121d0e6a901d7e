// Strong types for the quantities that must not be mixed up.
//
// A TXID, an epoch, a page number and a checksum are all integers; passing one where another is meant is the
// kind of mistake that loses data. Each therefore has a type of its own, with no implicit conversion.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rillfs {

/// An integer with a meaning. `Tag` only makes the type distinct. Value-initialised to 0.
template <class Tag, class Int>
struct Strong {
  Int value = 0;
  constexpr Strong() = default;
  constexpr explicit Strong(Int v) : value(v) {}
  friend constexpr auto operator<=>(Strong, Strong) = default;
};

/// Number of a transaction within one database: 1, 2, 3, ... for the life of the database's id. 0: none yet.
struct Txid : Strong<Txid, std::uint64_t> {
  using Strong::Strong;
  constexpr Txid next() const { return Txid{value + 1}; }
};

/// SQLite's page number, counted from 1. As a size: the number of pages ("commit" in WAL and LTX).
struct Pgno : Strong<Pgno, std::uint32_t> {
  using Strong::Strong;
  constexpr Pgno next() const { return Pgno{value + 1}; }
};

/// The largest number of a page that SQLite has, and so the largest size.
inline constexpr Pgno kPgnoMax{0xfffffffe};

/// Generation of the lease. Only grows; a message or record of an older epoch is refused.
struct Epoch : Strong<Epoch, std::uint64_t> {
  using Strong::Strong;
};

/// Random identity of a node, made once per data directory. Text form: 16 hex digits.
struct NodeId : Strong<NodeId, std::uint64_t> {
  using Strong::Strong;
};

/// Random identity of a cluster, made by its first primary. 0: not a member of any yet. Text form: 16 hex
/// digits.
struct ClusterId : Strong<ClusterId, std::uint64_t> {
  using Strong::Strong;
};

/// Random identity of a replicated database; survives renames. Text form: 16 hex digits.
struct DatabaseId : Strong<DatabaseId, std::uint64_t> {
  using Strong::Strong;
};

/// A CRC-64/GO-ISO as LTX stores it: bit 63 is always set, so that 0 can mean "absent" (ltx-format:
/// checksums).
struct Checksum : Strong<Checksum, std::uint64_t> {
  using Strong::Strong;
  static constexpr std::uint64_t kFlag = std::uint64_t{1} << 63;
  /// The rolling checksum of a database without pages.
  static constexpr Checksum empty() { return Checksum{kFlag}; }
  constexpr bool present() const { return value != 0; }
  /// Adds or removes one page's checksum to or from a rolling checksum (XOR is its own inverse).
  constexpr Checksum toggled(Checksum page) const { return Checksum{kFlag | (value ^ page.value)}; }
};

/// Where a database stands: after which transaction, and what its content sums to. The epoch says under whose
/// lease that transaction was made. Two nodes agree iff txid and checksum agree.
struct Position {
  Epoch epoch;
  Txid txid;
  Checksum checksum = Checksum::empty();
  /// Same content at the same transaction; the epoch is not part of the content.
  constexpr bool same_place(const Position& other) const {
    return txid == other.txid && checksum == other.checksum;
  }
  friend constexpr bool operator==(const Position&, const Position&) = default;
};

/// 16 lower-case hex digits, as LTX names and RillFS's own text forms use.
std::string to_hex(std::uint64_t value);
/// Inverse of to_hex: exactly 16 hex digits, either case; nothing otherwise.
std::optional<std::uint64_t> from_hex(std::string_view text);

/// `TXID/checksum`, 16+1+16 hex digits: the text form of LTX and of the `X-pos` files.
std::string to_text(const Position& position);

}  // namespace rillfs

template <>
struct std::hash<rillfs::DatabaseId> {
  std::size_t operator()(rillfs::DatabaseId id) const noexcept { return id.value; }
};
template <>
struct std::hash<rillfs::Pgno> {
  std::size_t operator()(rillfs::Pgno pgno) const noexcept { return pgno.value; }
};
