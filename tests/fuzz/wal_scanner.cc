// The search for transactions in a WAL, driven as the mount drives it. Input: steps of a SQLite that writes,
// rolls back, restarts, dies, or writes anything anywhere (1 byte for the kind, then what it takes).
//
// Beside it runs the simplest reader of a WAL: from the first frame on, as long as the chain holds. It must
// find every transaction that the scanner has.
#include "fs/capture/wal_scanner.h"

#include "fs/sqlite/database_header.h"
#include "support/input.h"
#include "support/memory_file_system.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

constexpr Label kLabel = "fuzz";

/// Committed frames that SQLite's recovery would find.
std::uint32_t recovered_frames(File& wal) {
  Buffer bytes(wal.size(kLabel).value());
  (void)wal.read_at(bytes, 0, kLabel);
  auto header = sqlite::parse_wal_header(bytes);
  if (!header) return 0;
  sqlite::WalChecksum running = header->checksum;
  std::uint32_t committed = 0;
  for (std::uint32_t n = 1; sqlite::frame_offset(n + 1, header->page_size) <= bytes.size(); ++n) {
    Bytes frame = Bytes(bytes).subspan(sqlite::frame_offset(n, header->page_size),
                                       sqlite::frame_size(header->page_size));
    if (!sqlite::verify_frame(frame, header->salts, header->order, running)) break;
    if (sqlite::parse_frame_header(frame).is_commit()) committed = n;
  }
  return committed;
}

class Mount {
 public:
  void step(Input& in) {
    switch (in.byte() % 12) {
      case 0:
        return restart(in);
      case 1:
        return append(in, true);
      case 2:
        return append(in, false);
      case 3:
        return roll_back();
      case 4:
        return rewrite_page(in);
      case 5:
        return seal_from(in);
      case 6:
        return anything(in);
      case 7:
        refuses_ = in.byte() & 1;
        return;
      case 8:
        return die();
      case 9:
        return truncate(in);
      case 10:
        return seal_all();
      default:
        return append_in_pieces(in);
    }
  }
  void check() {
    for (const auto& [pgno, frame] : scanner_.frames()) {
      require(frame >= 1 && frame <= scanner_.committed_frames(), "a page is in a committed frame");
      require(pgno.value != 0 && pgno <= scanner_.size(), "a page is in the database");
    }
    require(scanner_.waiting_pages() <= scanner_.frames().size(), "only what is in the WAL waits");
    if (scanner_.has_unsealed() || !scanner_.header()) return;
    require(recovered_frames(*file_) >= scanner_.committed_frames(), "recovery finds what was committed");
  }

 private:
  /// As Database::write_wal does.
  void write(Bytes bytes, std::uint64_t offset) {
    if (offset > 1 << 20 || bytes.empty()) return look_at(bytes, offset);
    const WalView view(*file_, bytes, offset);
    if (offset < sqlite::kWalHeaderSize) begin_generation(view);
    if (overwrites_committed(bytes, offset)) return;
    auto transaction = scanner_.written(view, offset, bytes.size());
    if (!transaction) return;
    if (*transaction && refuses_) return scanner_.refuse();
    if (*transaction) commit(**transaction);
    require(file_->write_at(bytes, offset, kLabel).has_value(), "the file takes it");
    if (*transaction) commit_rest(scanner_.written(WalView(*file_), scanner_.committed_end(), 0));
  }
  /// Too far out to be really done.
  void look_at(Bytes bytes, std::uint64_t offset) {
    if (bytes.empty()) return;
    if (scanner_.written(WalView(*file_, bytes, offset), offset, bytes.size())) scanner_.refuse();
  }
  void begin_generation(const WalView& view) {
    std::uint8_t bytes[sqlite::kWalHeaderSize];
    const std::size_t got = view.read(bytes, 0).value();
    auto header = sqlite::parse_wal_header(Bytes(bytes).first(got));
    if (!header) return scanner_.end();
    const auto& present = scanner_.header();
    if (present && present->checksum == header->checksum && present->order == header->order &&
        present->page_size == header->page_size && present->salts == header->salts)
      return;
    scanner_.end();
    scanner_.begin(*header);
  }
  bool overwrites_committed(Bytes bytes, std::uint64_t offset) {
    if (!scanner_.header()) return false;
    const std::uint64_t in_header = offset < sqlite::kWalHeaderSize ? sqlite::kWalHeaderSize - offset : 0;
    bytes = bytes.subspan(std::min<std::size_t>(in_header, bytes.size()));
    offset += in_header;
    const std::uint64_t end = std::min<std::uint64_t>(scanner_.committed_end(), offset + bytes.size());
    if (offset >= end) return false;
    Buffer present(end - offset);
    const std::size_t got = file_->read_at(present, offset, kLabel).value();
    return got < present.size() || !std::equal(present.begin(), present.end(), bytes.begin());
  }
  void commit(const WalTransaction& transaction) {
    require(transaction.first == scanner_.committed_frames() + 1 && transaction.last >= transaction.first,
            "a transaction follows the one before");
    require(transaction.commit.value != 0 && !transaction.pages.empty(), "a transaction has pages");
    for (std::size_t i = 0; i < transaction.pages.size(); ++i) {
      const auto& [pgno, frame] = transaction.pages[i];
      require(frame >= transaction.first && frame <= transaction.last, "its pages are in its frames");
      require(i == 0 || transaction.pages[i - 1].first < pgno, "its pages ascend");
    }
    scanner_.commit(transaction);
  }
  void commit_rest(Result<std::optional<WalTransaction>> transaction) {
    while (transaction && *transaction) {
      commit(**transaction);
      transaction = scanner_.written(WalView(*file_), scanner_.committed_end(), 0);
    }
  }

  // What SQLite does. `next_` is the frame that it writes next, `running_` what that frame continues.
  void restart(Input& in) {
    header_ = {};
    header_.order = static_cast<sqlite::WordOrder>(in.byte() & 1);
    header_.page_size = 512u << (in.byte() % 3 == 2 ? 3 : 0);
    header_.salts = {in.byte(), in.byte()};
    const auto bytes = sqlite::encode_wal_header(header_);
    write(bytes, 0);
    next_ = 1;
    committed_ = {0, header_.checksum};
    running_ = header_.checksum;
  }
  Buffer frame(Input& in, bool sealed) {
    const Pgno pgno{in.byte()};
    const Pgno commit{in.byte() % 4u == 0 ? std::uint32_t{1} + in.byte() : 0u};
    Buffer bytes(sqlite::frame_size(header_.page_size), in.byte());
    MutableBytes page = MutableBytes(bytes).subspan(sqlite::kFrameHeaderSize);
    if (sealed) {
      sqlite::encode_frame_header(bytes.data(), pgno, commit, header_.salts, page, header_.order, running_);
    } else {
      std::fill_n(bytes.begin(), sqlite::kFrameHeaderSize, std::uint8_t{0});
      store_be(&bytes[0], pgno.value);
      store_be(&bytes[4], commit.value);
    }
    return bytes;
  }
  std::uint64_t offset(std::uint32_t frame) const { return sqlite::frame_offset(frame, header_.page_size); }
  void append(Input& in, bool sealed) {
    const Buffer bytes = frame(in, sealed);
    write(Bytes(bytes).first(sqlite::kFrameHeaderSize), offset(next_));
    write(Bytes(bytes).subspan(sqlite::kFrameHeaderSize), offset(next_) + sqlite::kFrameHeaderSize);
    written(bytes);
  }
  void append_in_pieces(Input& in) {
    const std::size_t piece = in.byte() % 8 * 97 + 33;
    const Buffer bytes = frame(in, true);
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      write(Bytes(bytes).subspan(at, std::min(piece, bytes.size() - at)), offset(next_) + at);
    written(bytes);
  }
  void written(Bytes bytes) {
    ++next_;
    if (sqlite::parse_frame_header(bytes).is_commit() && !refuses_) committed_ = {next_ - 1, running_};
  }
  void roll_back() {
    next_ = committed_.first + 1;
    running_ = committed_.second;
  }
  void rewrite_page(Input& in) {
    const std::uint32_t open = next_ - committed_.first - 1;
    if (open == 0) return;
    const std::uint32_t which = committed_.first + 1 + in.byte() % open;
    const Buffer page(header_.page_size, in.byte());
    write(page, offset(which) + sqlite::kFrameHeaderSize);
  }
  /// Writes the headers again from an open frame on, as SQLite does before it commits what it wrote over.
  void seal_from(Input& in) {
    const std::uint32_t open = next_ - committed_.first - 1;
    if (open == 0) return;
    const std::uint32_t first = committed_.first + 1 + in.byte() % open;
    std::uint8_t before[sqlite::kFrameHeaderSize] = {};
    if (first > 1) (void)file_->read_at(before, offset(first - 1), kLabel);
    running_ = first > 1 ? sqlite::parse_frame_header(before).checksum : header_.checksum;
    Buffer bytes(sqlite::frame_size(header_.page_size));
    for (std::uint32_t n = first; n < next_; ++n) {
      (void)file_->read_at(bytes, offset(n), kLabel);
      const sqlite::FrameHeader present = sqlite::parse_frame_header(bytes);
      sqlite::encode_frame_header(bytes.data(), present.pgno, present.commit, header_.salts,
                                  Bytes(bytes).subspan(sqlite::kFrameHeaderSize), header_.order, running_);
      write(Bytes(bytes).first(sqlite::kFrameHeaderSize), offset(n));
    }
  }
  void anything(Input& in) {
    const std::uint64_t at = in.byte() & 1 ? in.number<std::uint64_t>() : in.number<std::uint16_t>();
    write(in.bytes(in.number<std::uint16_t>()), at);
  }
  void die() { commit_rest(scanner_.left_behind(WalView(*file_))); }
  void truncate(Input& in) {
    const std::uint64_t size = in.number<std::uint16_t>();
    if (scanner_.header() && size < scanner_.committed_end()) scanner_.end();
    scanner_.cut(size);
    require(file_->truncate(size, kLabel).has_value(), "the file can be cut");
  }
  void seal_all() {
    if (!scanner_.header() || !scanner_.has_unsealed()) return;
    const std::uint32_t committed = scanner_.committed_frames();
    require(scanner_.seal(*file_).has_value(), "what is committed can be sealed");
    require(!scanner_.has_unsealed() && scanner_.committed_frames() == committed,
            "sealing changes no content");
  }

  std::shared_ptr<Buffer> bytes_ = std::make_shared<Buffer>();
  std::unique_ptr<File> file_ = std::make_unique<MemoryFile>(bytes_);
  WalScanner scanner_;
  bool refuses_ = false;
  sqlite::WalHeader header_{sqlite::WordOrder::kLittle, 512};
  std::uint32_t next_ = 1;
  sqlite::WalChecksum running_;
  std::pair<std::uint32_t, sqlite::WalChecksum> committed_;
};

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(wal_scanner) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  Mount mount;
  for (int n = 0; n < 200 && !in.empty(); ++n) {
    mount.step(in);
    mount.check();
  }
}
