// Goal: one who is far behind gets few records that lead where the log leads; one who is not gets each.
// Method: logs with more and fewer records than the limit, in many segments, with records that do not merge.
#include "replication/log/compacting_reader.h"

#include "log_fixture.h"

namespace rillfs::log {

class CompactingReaderTest : public LogTest {
 protected:
  static constexpr std::uint64_t kFar = CompactingReader::kFarBehind;

  CompactingReader reader_after(const Position& after) {
    auto reader = LogReader::open(files, directory, kDatabase, after);
    if (!reader) throw std::runtime_error(reader.error().message);
    return CompactingReader(std::move(*reader));
  }
  /// The current image, read in pieces; it must be the one that the record says, and verify.
  void check_image(CompactingReader& reader, const RecordInfo& record) {
    Buffer image;
    Buffer piece(100);
    for (;;) {
      auto size = reader.read(piece);
      ASSERT_TRUE(size) << size.error().message;
      if (*size == 0) break;
      append_bytes(image, Bytes(piece).first(*size));
    }
    ASSERT_EQ(image.size(), record.image_size);
    BufferSource source(image);
    auto summary = ltx::verify(source, ltx::Format::kV3Block);
    ASSERT_TRUE(summary) << summary.error().message;
    EXPECT_EQ(summary->trailer.file, record.image_checksum);
    const Bytes bytes(image);
    EXPECT_TRUE(log::check_image(record, bytes.first(ltx::kHeaderSize), bytes.last(ltx::kTrailerSize)))
        << "a log takes it in";
  }
  /// Reads all of it; each record follows the last one. How many transactions each had.
  std::vector<std::uint64_t> read(CompactingReader& reader, LogState state, Txid published) {
    std::vector<std::uint64_t> counts;
    for (;;) {
      auto record = reader.next(published);
      EXPECT_TRUE(record) << record.error().message;
      if (!record || !*record) break;
      const RecordInfo& info = (*record)->info;
      auto follows = check_follows(info, state);
      EXPECT_TRUE(follows) << follows.error().message;
      EXPECT_EQ((*record)->log_size, info.log_offset - state.log_offset);
      check_image(reader, info);
      counts.push_back(info.max_txid.value - info.min_txid.value + 1);
      EXPECT_EQ((*record)->is_merged(), counts.back() > 1);
      state = info.state_after();
    }
    EXPECT_EQ(state, log->end());
    return counts;
  }
};

TEST_F(CompactingReaderTest, GivesEachToOneWhoIsNear) {
  open();
  append(1);
  const LogState start = log->end();
  append(static_cast<int>(kFar));
  auto reader = reader_after(start.position);
  EXPECT_EQ(read(reader, start, log->end().position.txid), std::vector<std::uint64_t>(kFar, 1));
}

TEST_F(CompactingReaderTest, MergesForOneWhoIsFarAcrossSegments) {
  options.segment_size_max = 2000;
  open();
  append(1);
  const LogState start = log->end();
  append(500);
  auto reader = reader_after(start.position);
  const auto counts = read(reader, start, log->end().position.txid);
  EXPECT_EQ(counts, std::vector<std::uint64_t>{500});
}

TEST_F(CompactingReaderTest, GoesOnOneByOneOnceItIsNear) {
  open();
  append(1);
  const LogState start = log->end();
  append(100);
  auto reader = reader_after(start.position);
  const auto record = reader.next(log->end().position.txid);
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->info.min_txid, Txid{2});
  EXPECT_EQ((*record)->info.max_txid, Txid{101});
  const LogState merged = (*record)->info.state_after();
  append(3);
  EXPECT_EQ(read(reader, merged, log->end().position.txid), std::vector<std::uint64_t>(3, 1));
}

TEST_F(CompactingReaderTest, TellsTheAgeOfTheOldestThatIsMerged) {
  open();
  append(1);
  const LogState start = log->end();
  for (int i = 0; i < 100; ++i) {
    database.timestamp_ms += 10;
    append(1);
  }
  auto reader = reader_after(start.position);
  const auto record = reader.next(log->end().position.txid);
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->oldest_ms, 510);
  EXPECT_EQ((*record)->info.timestamp_ms, 1500);
}

TEST_F(CompactingReaderTest, ReadsOnlySoMuchAtOnce) {
  open();
  append(1);
  const LogState start = log->end();
  const std::uint64_t size = record_size(database.change().image.size());
  append(static_cast<int>(3 * CompactingReader::kReadMax / 2 / size));
  auto reader = reader_after(start.position);
  EXPECT_EQ(read(reader, start, log->end().position.txid).size(), 2U);
}

TEST_F(CompactingReaderTest, DoesNotLookBeyondWhatIsPublished) {
  open();
  append(200);
  auto reader = reader_after({});
  auto last = Txid{};
  for (auto record = reader.next(Txid{150}); record && *record; record = reader.next(Txid{150}))
    last = (*record)->info.max_txid;
  EXPECT_EQ(last, Txid{150});
}

TEST_F(CompactingReaderTest, GivesWhatDoesNotMergeAsItIs) {
  open();
  append(100);  // the first of them is a snapshot for LTX
  database.epoch = Epoch{2};
  append(100);
  auto reader = reader_after({});
  EXPECT_EQ(read(reader, {}, log->end().position.txid), (std::vector<std::uint64_t>{1, 99, 100}));
}

TEST_F(CompactingReaderTest, SaysThatTheLogDoesNotLeadOnWhereAPageIsDamaged) {
  open();
  append(2);
  const LogState start = log->end();
  append(100);
  auto appended = contents().at(segment_path(1));
  const std::size_t end = appended.find_last_not_of('\0') + 1;
  // The only page: whichever record has it last counts. All of their blocks are damaged.
  Buffer bytes(appended.begin(), appended.end());
  std::size_t damaged = 0;
  for (std::size_t at = start.log_offset + kSegmentHeaderSize; at + kEnvelopeSize < end;) {
    const auto record = parse_envelope(Bytes(bytes).subspan(at));
    ASSERT_TRUE(record);
    const std::size_t block = at + kEnvelopeSize + ltx::kHeaderSize + ltx::kBlockHeaderSize;
    appended.replace(block, 3, 3, '\0');  // a match of nothing
    ++damaged;
    at += record_size(record->image_size);
  }
  ASSERT_EQ(damaged, 100u);
  overwrite(segment_path(1), appended);
  auto reader = reader_after(start.position);
  const auto record = reader.next(log->end().position.txid);
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().code, ErrorCode::kNotInLog);
}

TEST_F(CompactingReaderTest, ALogOfMergedRecordsKnowsOnlyWhereTheyLead) {
  open();
  append(100);
  const Position within = [&] {
    auto reader = *LogReader::open(files, directory, kDatabase, {});
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(*reader.next(Txid{100}));
    return reader.position();
  }();
  auto reader = reader_after({});
  const std::string copy = temporary.path() + "/copy";
  auto other = Log::open(files, clock, copy, kDatabase, {}, options, {});
  ASSERT_TRUE(other);
  for (auto record = reader.next(Txid{100}); record && *record; record = reader.next(Txid{100})) {
    Buffer image((*record)->info.image_size);
    ASSERT_EQ(*reader.read(image), image.size());
    EXPECT_EQ(*reader.read(image), 0U);
    ASSERT_TRUE(other->log->append((*record)->info, image));
  }
  EXPECT_EQ(other->log->end().position, log->end().position);
  const auto there = LogReader::open(files, copy, kDatabase, within);
  ASSERT_FALSE(there);
  EXPECT_EQ(there.error().code, ErrorCode::kPositionMismatch) << "it may be a branch";
  EXPECT_TRUE(LogReader::open(files, copy, kDatabase, log->end().position));
  // Opened again, all of it is verified.
  other->log.reset();
  auto again = Log::open(files, clock, copy, kDatabase, {}, options, {});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->log->end().position, log->end().position);
  EXPECT_EQ(again->log->end().hash, log->end().hash);
}

}  // namespace rillfs::log
