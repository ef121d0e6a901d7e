// Goal: a reader gives exactly the published records, in order, beside a writer, from any position.
// Method: logs of many small segments, a writing thread, positions that are not in the log.
#include "replication/log/reader.h"

#include <atomic>
#include <thread>

#include "log_fixture.h"

namespace rillfs::log {

using LogReaderTest = LogTest;

TEST_F(LogReaderTest, StartsAfterAnyPositionOfTheLog) {
  options.segment_size_max = 500;
  open();
  std::vector<Position> positions{Position{}};
  for (int i = 0; i < 12; ++i) {
    append(1);
    positions.push_back(log->end().position);
  }
  for (std::size_t i = 0; i < positions.size(); ++i) {
    auto reader = LogReader::open(files, directory, kDatabase, positions[i]);
    ASSERT_TRUE(reader) << reader.error().message;
    for (std::size_t next = i + 1; next < positions.size(); ++next) {
      auto record = reader->next(Txid{12});
      ASSERT_TRUE(record && *record);
      EXPECT_EQ((*record)->post_position(), positions[next]);
      EXPECT_EQ((*record)->pre_position().txid, positions[next - 1].txid);
    }
    EXPECT_FALSE(*reader->next(Txid{12}));
  }
}

TEST_F(LogReaderTest, RefusesPositionsThatAreNotInTheLog) {
  options.segment_size_max = 1;
  open();
  append(5);
  auto code = [&](Txid txid, Checksum checksum) {
    auto reader = LogReader::open(files, directory, kDatabase, {Epoch{1}, txid, checksum});
    return reader ? ErrorCode::kClosed : reader.error().code;
  };
  EXPECT_EQ(code(Txid{3}, Checksum{Checksum::kFlag | 5}), ErrorCode::kPositionMismatch) << "other history";
  EXPECT_EQ(code(Txid{5}, Checksum{Checksum::kFlag | 5}), ErrorCode::kPositionMismatch)
      << "other history at the end";
  EXPECT_EQ(code(Txid{6}, log->end().position.checksum), ErrorCode::kPositionMismatch) << "in the future";
  EXPECT_EQ(code(Txid{0}, Checksum{Checksum::kFlag | 5}), ErrorCode::kPositionMismatch);
  clock.now_ms = 1ll << 50;
  ASSERT_TRUE(log->retain(Txid{3}));
  EXPECT_EQ(code(Txid{0}, Checksum::empty()), ErrorCode::kNotInLog) << "no longer";
  EXPECT_EQ(code(Txid{1}, Checksum{Checksum::kFlag | 5}), ErrorCode::kNotInLog) << "nobody knows any more";
}

TEST_F(LogReaderTest, DoesNotKnowWhatASnapshotHasReplaced) {
  open();
  append(3);
  const Position before = log->end().position;
  database.move_to(Txid{8}, Checksum{Checksum::kFlag | 1});
  const Change snapshot = database.change(1, kSnapshot);
  {
    auto appender = log->reset(snapshot.record);
    ASSERT_TRUE(appender && appender->write(snapshot.image) && appender->commit());
  }
  for (Position older : {before, Position{Epoch{1}, Txid{3}, Checksum{Checksum::kFlag | 5}}}) {
    auto reader = LogReader::open(files, directory, kDatabase, older);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, ErrorCode::kNotInLog);
  }
}

TEST_F(LogReaderTest, DoesNotLookBeyondWhatIsPublished) {
  open();
  append(1);
  auto reader = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(*reader->next(Txid{1}));
  Change lost = database.change(4);
  ASSERT_TRUE(log->append(lost.record, lost.image));
  EXPECT_FALSE(*reader->next(Txid{1}));
  ASSERT_TRUE(log->cut_last());
  append(1);
  auto record = reader->next(Txid{2});
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->post_position(), log->end().position);
}

TEST_F(LogReaderTest, WhatWasReadAheadBehindThePublishedRecordsDoesNotCount) {
  open();
  append(2);
  Change lost = database.change(4);
  ASSERT_TRUE(log->append(lost.record, lost.image));
  auto reader = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(*reader->next(Txid{2}));
  ASSERT_TRUE(*reader->next(Txid{2}));
  ASSERT_TRUE(log->cut_last());
  Change kept = database.change(5);
  ASSERT_NE(lost.record.post, kept.record.post);
  ASSERT_TRUE(log->append(kept.record, kept.image));
  auto record = reader->next(Txid{3});
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->post, kept.record.post);
  Buffer image(kept.image.size());
  auto source = reader->source();
  ASSERT_EQ(source.read(image).value(), image.size());
  EXPECT_TRUE(image == kept.image);
}

TEST_F(LogReaderTest, GivesTheImageInPieces) {
  open();
  append(1);
  Change made = database.change(8);
  ASSERT_TRUE(log->append(made.record, made.image));
  auto reader = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(*reader->next(Txid{2}));
  ASSERT_TRUE(*reader->next(Txid{2}));
  Buffer image, piece(13);
  for (;;) {
    auto size = reader->read(piece);
    ASSERT_TRUE(size);
    if (*size == 0) break;
    append_bytes(image, Bytes(piece).first(*size));
  }
  EXPECT_EQ(image, made.image);
}

TEST_F(LogReaderTest, FollowsAWriterThroughManySegments) {
  options.segment_size_max = 700;
  open();
  constexpr std::uint64_t kCount = 600;
  std::atomic<std::uint64_t> published = 0;
  std::thread writer([&] {
    for (std::uint64_t i = 1; i <= kCount; ++i) {
      ASSERT_TRUE(try_append(static_cast<int>(i)));
      published = i;
    }
  });
  auto reader = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(reader);
  Position last;
  while (last.txid < Txid{kCount}) {
    auto record = reader->next(Txid{published});
    if (!record) {
      ADD_FAILURE() << record.error().message;
      break;
    }
    if (!*record) continue;
    EXPECT_TRUE((*record)->pre_position().same_place(last));
    last = (*record)->post_position();
    auto source = reader->source();
    EXPECT_TRUE(ltx::verify(source, ltx::Format::kV3Block));
  }
  writer.join();
  EXPECT_EQ(last, log->end().position);
}

TEST_F(LogReaderTest, IsToldThatTheLogWasResetUnderIt) {
  open();
  append(3);
  auto reader = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(*reader->next(Txid{3}));
  database.move_to(Txid{10}, Checksum{Checksum::kFlag | 1});
  Change snapshot = database.change(1, kSnapshot);
  {
    auto appender = log->reset(snapshot.record);
    ASSERT_TRUE(appender && appender->write(snapshot.image) && appender->commit());
  }
  ASSERT_TRUE(*reader->next(Txid{11})) << "what it has open it may finish";
  ASSERT_TRUE(*reader->next(Txid{11}));
  EXPECT_EQ(reader->next(Txid{11}).error().code, ErrorCode::kNotInLog);
  auto fresh = LogReader::open(files, directory, kDatabase, {});
  ASSERT_TRUE(fresh) << fresh.error().message;
  auto record = fresh->next(Txid{11});
  ASSERT_TRUE(record && *record);
  EXPECT_TRUE((*record)->is_snapshot());
}

TEST_F(LogReaderTest, ReportsADamagedRecord) {
  open();
  append(2);
  auto reader = LogReader::open(files, directory, kDatabase, {});
  std::string whole = contents()[segment_path(1)];
  whole[kSegmentHeaderSize + 20] ^= 1;
  overwrite(segment_path(1), whole);
  EXPECT_EQ(reader->next(Txid{2}).error().code, ErrorCode::kCorrupt);
}

}  // namespace rillfs::log
