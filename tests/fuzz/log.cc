// A log's directory. Input: options (1 byte, below), transactions that are trusted (1), where to damage (2),
// by what (1: 0 truncates there, else XOR), size of the first segment (2), then the segments, back to back.
#include "replication/log/log.h"

#include "replication/log/reader.h"
#include "support/complete_ltx.h"
#include "support/input.h"
#include "support/memory_file_system.h"
#include "support/target.h"

namespace rillfs::fuzz {
namespace {

using namespace log;

constexpr std::uint8_t kMend = 1;    // images, sizes and CRCs are made right
constexpr std::uint8_t kChain = 2;   // and each record follows the one before
constexpr std::uint8_t kDamage = 4;  // afterwards something is damaged
constexpr std::uint8_t kReset = 8;   // the first segment is called reset.done
constexpr DatabaseId kDatabase{0x1234};
const std::string kDirectory = "log";

struct StoppedClock final : Clock {
  Monotonic monotonic() const override { return {}; }
  std::int64_t wall_ms() const override { return 0; }
};

/// Writes a segment again so that its CRCs hold, as far as there are bytes for records.
class Mender {
 public:
  Mender(Bytes segment, bool chains, std::optional<LogState> before)
      : rest_(segment),
        chains_(chains),
        state_(before.value_or(LogState{})),
        continues_(before.has_value()) {}

  Buffer run() {
    if (rest_.size() < kSegmentHeaderSize) return Buffer(rest_.begin(), rest_.end());
    mend_header();
    while (rest_.size() >= kEnvelopeSize + ltx::kHeaderSize) mend_record();
    append_bytes(out_, rest_);
    return out_;
  }
  const LogState& end() const { return state_; }

 private:
  void mend_header() {
    SegmentHeader header{kDatabase, {}};
    auto number = [&](std::size_t at) { return load_be<std::uint64_t>(&rest_[at]); };
    header.start.position = {Epoch{number(24)}, Txid{number(32)}, Checksum{number(40)}};
    header.start.hash = {number(48), number(56)};
    header.start.log_offset = number(64);
    header.start.timestamp_ms = static_cast<std::int64_t>(number(72));
    if (continues_ && chains_) header.start = state_;
    state_ = header.start;
    const auto bytes = encode(header);
    append_bytes(out_, bytes);
    rest_ = rest_.subspan(kSegmentHeaderSize);
  }
  void mend_record() {
    auto number = [&](std::size_t at) { return load_be<std::uint64_t>(&rest_[at]); };
    const std::uint64_t available = rest_.size() - kEnvelopeSize;
    const std::size_t size = std::min<std::uint64_t>(number(8), available);
    Buffer image(rest_.begin() + kEnvelopeSize,
                 rest_.begin() + static_cast<std::ptrdiff_t>(kEnvelopeSize + size));
    if (image.size() < ltx::kHeaderSize) image.resize(ltx::kHeaderSize);
    RecordInfo record;
    record.flags = load_be<std::uint32_t>(&rest_[4]);
    record.epoch = Epoch{number(16)};
    record.synced_txid = Txid{number(96)};
    record.hash = {number(56), number(64)};
    record.pre_epoch = Epoch{number(120)};
    if (chains_) chain(record, image);
    image = complete_ltx(image, ltx::Format::kV3Block);
    describe(record, image);
    const auto envelope = encode(record);
    append_bytes(out_, envelope);
    append_bytes(out_, image);
    out_.resize(out_.size() + (record_size(image.size()) - kEnvelopeSize - image.size()));
    rest_ = rest_.subspan(std::min<std::uint64_t>(rest_.size(), record_size(size)));
    state_ = record.state_after();
  }
  void chain(RecordInfo& record, Buffer& image) const {
    record.epoch = std::max(record.epoch, state_.position.epoch);
    record.pre_epoch = state_.position.epoch;
    const std::uint64_t before = load_be<std::uint64_t>(&image[16]),
                        after = load_be<std::uint64_t>(&image[24]);
    const std::uint64_t min = state_.position.txid.value + 1;
    store_be(&image[16], min);
    store_be(&image[24], after >= before ? min + (after - before) % 3 : min);
    store_be(&image[40], min == 1 ? 0 : state_.position.checksum.value);
  }
  void describe(RecordInfo& record, Bytes image) const {
    auto number = [&](std::size_t at) { return load_be<std::uint64_t>(&image[at]); };
    record.page_size = load_be<std::uint32_t>(&image[8]);
    record.commit = Pgno{load_be<std::uint32_t>(&image[12])};
    record.min_txid = Txid{number(16)};
    record.max_txid = Txid{number(24)};
    record.timestamp_ms = static_cast<std::int64_t>(number(32));
    record.pre = chains_ ? state_.position.checksum : Checksum{number(40)};
    record.post = Checksum{load_be<std::uint64_t>(&image[image.size() - 16])};
    record.image_checksum = Checksum{load_be<std::uint64_t>(&image[image.size() - 8])};
    record.image_size = image.size();
    record.log_offset = state_.log_offset + record_size(image.size());
    record.database = kDatabase;
  }

  Bytes rest_;
  bool chains_;
  LogState state_;
  bool continues_;
  Buffer out_;
};

std::string name_of(Bytes segment) {
  const bool whole = segment.size() >= kSegmentHeaderSize;
  return segment_name(Txid{(whole ? load_be<std::uint64_t>(&segment[32]) : 0) + 1});
}

void damage(Buffer& segment, std::uint16_t where, std::uint8_t how) {
  if (segment.empty()) return;
  const std::size_t at = where % segment.size();
  if (how == 0) {
    segment.resize(at);
  } else {
    segment[at] ^= how;
  }
}

void put_segments(Input& input, std::uint8_t options, MemoryFileSystem& files) {
  const auto where = input.number<std::uint16_t>();
  const std::uint8_t how = input.byte();
  Buffer first, second;
  append_bytes(first, input.bytes(input.number<std::uint16_t>()));
  append_bytes(second, input.rest());
  if (options & kMend) {
    Mender mender(first, options & kChain, std::nullopt);
    first = mender.run();
    second = Mender(second, options & kChain, mender.end()).run();
  }
  const std::string name = name_of(first);
  if (options & kDamage) damage(second.empty() ? first : second, where, how);
  files.put(kDirectory + "/" + (options & kReset ? "reset.done" : name), first);
  if (!second.empty()) files.put(kDirectory + "/" + name_of(second), second);
}

/// Headers and envelopes that parse are canonical.
void check_codecs(const MemoryFileSystem& files) {
  for (const auto& [path, content] : files.contents()) {
    if (content.size() >= kSegmentHeaderSize) {
      auto header = parse_segment_header(content);
      if (header) {
        auto again = parse_segment_header(encode(*header));
        require(again && again->start == header->start && again->database == header->database,
                "a segment header comes back");
      }
    }
    for (std::size_t at = kSegmentHeaderSize; at + kEnvelopeSize <= content.size(); at += 8) {
      if (content[at] != 'R') continue;
      Bytes bytes = Bytes(content).subspan(at, kEnvelopeSize);
      auto record = parse_envelope(bytes);
      if (!record) continue;
      const auto again = encode(*record);
      require(std::equal(again.begin(), again.end(), bytes.begin()), "an envelope encodes to the same bytes");
    }
  }
}

/// All of an opened log's records, as a publisher or a replay would read them.
void read_all(MemoryFileSystem& files, const Log& log, bool verified) {
  auto reader = open_reader(files, kDirectory, kDatabase, {});
  // It begins in the middle: retention has removed what was before. Then from its first segment on.
  if (!reader && verified)
    require(reader.error().code == ErrorCode::kNotInLog, "only the beginning may be gone");
  if (!reader) return;
  Txid last = reader->position().txid;
  for (;;) {
    auto record = reader->next(log.end().position.txid);
    if (verified) require(record.has_value(), "what was verified can be read");
    if (!record || !*record) break;
    require((*record)->max_txid > last || (*record)->is_snapshot(), "records ascend");
    last = (*record)->max_txid;
    auto source = reader->source();
    auto image = ltx::verify(source, ltx::Format::kV3Block);
    if (verified) require(image.has_value(), "what was verified verifies again");
  }
  if (verified) require(last == log.end().position.txid, "all of the log is read");
}

}  // namespace
}  // namespace rillfs::fuzz

RILL_FUZZ_TARGET(log) {
  using namespace rillfs;
  using namespace rillfs::fuzz;
  Input in(input);
  const std::uint8_t options = in.byte();
  const Txid verify_from{in.byte()};
  MemoryFileSystem files;
  StoppedClock clock;
  put_segments(in, options, files);
  check_codecs(files);
  const auto before = files.contents();
  auto opened = log::Log::open(files, clock, kDirectory, kDatabase, {}, {}, verify_from);
  if (!opened) {
    if (!(options & kReset)) require(files.contents() == before, "a log that is refused is not changed");
    return;
  }
  read_all(files, *opened->log, verify_from == Txid{} && opened->log->end().position.txid.value != 0);
  const log::LogState end = opened->log->end();
  const auto after = files.contents();
  opened->log.reset();
  auto again = log::Log::open(files, clock, kDirectory, kDatabase, {}, {}, verify_from);
  require(again.has_value(), "what was opened opens again");
  require(again->torn_bytes == 0, "a torn tail is cut off once");
  require(again->log->end() == end, "and ends where it ended");
  require(files.contents() == after, "opening a whole log changes nothing");
}
