// Goal: what was appended is there after reopening, what was not is not, and damage is never taken for
// either. Method: a log in a temporary directory; every cut of its tail, every failing call, damage in its
// middle.
#include "replication/log/log.h"

#include <thread>

#include "log_fixture.h"

namespace rillfs::log {

TEST(ContentHash, TellsSwappedPagesApartAndIsUndoneByRemove) {
  Buffer a = test::page_of(512, 1), b = test::page_of(512, 2);
  ContentHash straight, swapped;
  straight.add(Pgno{1}, a);
  straight.add(Pgno{2}, b);
  swapped.add(Pgno{1}, b);
  swapped.add(Pgno{2}, a);
  EXPECT_NE(straight, swapped);
  straight.remove(Pgno{1}, a);
  straight.remove(Pgno{2}, b);
  EXPECT_EQ(straight, ContentHash{});
}

TEST(ContentHash, CarriesBetweenItsHalves) {
  ContentHash hash{0, ~std::uint64_t{0}};
  hash.add(ContentHash{0, 1});
  EXPECT_EQ(hash, (ContentHash{1, 0}));
  hash.remove(ContentHash{0, 1});
  EXPECT_EQ(hash, (ContentHash{0, ~std::uint64_t{0}}));
}

TEST(Segment, EnvelopeRefusesEveryFlippedBit) {
  RecordInfo record;
  record.min_txid = record.max_txid = Txid{7};
  record.image_size = 200;
  record.log_offset = 5000;
  const EnvelopeBytes bytes = encode(record);
  ASSERT_TRUE(parse_envelope(bytes));
  EXPECT_EQ(encode(*parse_envelope(bytes)), bytes);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    EnvelopeBytes damaged = bytes;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(parse_envelope(damaged)) << bit;
  }
}

TEST_F(LogTest, KeepsRecordsAcrossReopening) {
  open();
  EXPECT_EQ(log->end(), LogState{});
  append(5);
  const LogState end = log->end();
  EXPECT_EQ(end.position.txid, Txid{5});
  EXPECT_EQ(open(), 0u);
  EXPECT_EQ(log->end(), end);
  EXPECT_EQ(log->first_txid(), Txid{1});
  EXPECT_EQ(log->synced_txid(), Txid{5});
  append(5);
  EXPECT_EQ(open(Txid{7}), 0u);
  EXPECT_EQ(read_all(Txid{10}), 10u);
}

TEST_F(LogTest, RefusesWhatDoesNotFollow) {
  open();
  append(2);
  const LogState end = log->end();
  auto refused = [&](auto break_it, ErrorCode code) {
    Change made = database.change();
    break_it(made);
    auto info = log->append(made.record, made.image);
    EXPECT_FALSE(info);
    return !info && info.error().code == code && log->end() == end;
  };
  EXPECT_TRUE(refused([](Change& c) { c.record.epoch = Epoch{0}; }, ErrorCode::kPositionMismatch));
  EXPECT_TRUE(refused([](Change& c) { c.record.flags = kSnapshot; }, ErrorCode::kInvalid));
  EXPECT_TRUE(refused([](Change& c) { c.record.post.value ^= 1; }, ErrorCode::kInvalid));
  EXPECT_TRUE(refused([](Change& c) { c.image.resize(20); }, ErrorCode::kInvalid));
  TinyDatabase other;
  Change first = other.change();
  EXPECT_EQ(log->append(first.record, first.image).error().code, ErrorCode::kPositionMismatch);
  append(1);
}

TEST_F(LogTest, CutsATornTailAtEveryByteOfTheLastRecord) {
  open();
  append(3);
  const std::uint64_t before = log->bytes_on_disk();
  append(1);
  log.reset();
  const std::string whole = contents()[segment_path(1)];
  for (std::size_t size = before; size < whole.size(); ++size) {
    overwrite(segment_path(1), whole.substr(0, size));
    ASSERT_EQ(open(), size - before);
    ASSERT_EQ(log->end().position.txid, Txid{3});
    ASSERT_EQ(log->bytes_on_disk(), before);
    // A hole where the data did not get to disk.
    log.reset();
    std::string hole = whole;
    std::fill(hole.begin() + static_cast<std::ptrdiff_t>(size), hole.end(), '\0');
    overwrite(segment_path(1), hole);
    auto opened = try_open();
    ASSERT_TRUE(opened);
    ASSERT_TRUE(opened->torn_bytes == 0 || opened->log->end().position.txid == Txid{3});
  }
}

TEST_F(LogTest, GoesOnAfterATornTail) {
  open();
  append(3);
  log.reset();
  std::string whole = contents()[segment_path(1)];
  overwrite(segment_path(1), whole + "RREC garbage");
  EXPECT_EQ(open(), 12u);
  append(2);
  open();
  EXPECT_EQ(read_all(Txid{5}), 5u);
}

class LogTestZeroesAhead : public LogTest {
 protected:
  std::uint64_t file_size(std::uint64_t first = 1) { return std::filesystem::file_size(segment_path(first)); }
};

TEST_F(LogTestZeroesAhead, AreNoPartOfTheLog) {
  open();
  append(5);
  EXPECT_GT(file_size(), log->bytes_on_disk());
  EXPECT_LE(file_size(), 2 * log->bytes_on_disk());  // a small log stays small
  EXPECT_EQ(read_all(Txid{5}), 5u);
  const std::string killed = contents()[segment_path(1)];
  const std::uint64_t size = log->bytes_on_disk();
  const LogState end = log->end();
  log.reset();
  EXPECT_EQ(file_size(), size);  // after a clean end
  overwrite(segment_path(1), killed);
  EXPECT_EQ(open(), 0u);  // nothing is torn
  EXPECT_EQ(log->end(), end);
  EXPECT_EQ(file_size(), size);
  append(1);
  ASSERT_TRUE(log->cut_last());
  EXPECT_EQ(file_size(), size);
  database.move_to(end.position.txid, end.position.checksum);
  append(2);
  open();
  EXPECT_EQ(log->end().position.txid, Txid{7});
}

TEST_F(LogTestZeroesAhead, BehindATornRecordAreCutOffWithIt) {
  open();
  append(3);
  const std::uint64_t before = log->bytes_on_disk();
  append(1);
  const std::uint64_t after = log->bytes_on_disk();
  append(1);
  const std::string whole = contents()[segment_path(1)].substr(0, after) + std::string(5000, '\0');
  // Sectors of it that did not get to disk.
  for (std::uint64_t from = before; from < after; from += 24) {
    for (std::uint64_t to = from + 24; to <= after; to += 24) {
      std::string torn = whole;
      std::fill_n(torn.begin() + static_cast<std::ptrdiff_t>(from), to - from, '\0');
      log.reset();
      overwrite(segment_path(1), torn);
      auto opened = try_open();
      ASSERT_TRUE(opened) << opened.error().message;
      const bool changed = torn != whole;
      ASSERT_EQ(opened->log->end().position.txid, Txid{changed ? 3U : 4U}) << from << " " << to;
      ASSERT_EQ(file_size(), changed ? before : after);
      ASSERT_LE(opened->torn_bytes, whole.size() - before);
    }
  }
}

TEST_F(LogTestZeroesAhead, DamagedOnesAreATornTail) {
  open();
  append(4);
  std::string whole = contents()[segment_path(1)];
  const std::uint64_t size = log->bytes_on_disk();
  for (std::size_t at = size; at < whole.size(); at += 37) {
    log.reset();
    std::string damaged = whole;
    damaged[at] = 'R';
    overwrite(segment_path(1), damaged);
    EXPECT_EQ(open(), whole.size() - size);
    EXPECT_EQ(log->end().position.txid, Txid{4});
  }
}

TEST_F(LogTestZeroesAhead, ASegmentThatIsFullHasNone) {
  options.segment_size_max = 2000;
  open();
  append(20);
  std::uint64_t sum = 0;
  for (const auto& [path, content] : contents()) sum += path == segment_path(20) ? 0 : content.size();
  EXPECT_LE(sum, log->bytes_on_disk());
  EXPECT_EQ(read_all(Txid{20}), 20u);
}

TEST_F(LogTestZeroesAhead, AreLeftOutWhereThereIsNoRoom) {
  open();
  append(2);
  for (const int error : {ENOSPC, EIO}) {
    open();
    files.fail_nth(0, error, "log: zeroes ahead");
    append(1);
    EXPECT_TRUE(files.fired());
    EXPECT_EQ(file_size(), log->bytes_on_disk());
    append(1);  // is not tried again
    EXPECT_EQ(file_size(), log->bytes_on_disk());
    ASSERT_TRUE(log->sync());
  }
}

TEST_F(LogTest, RefusesDamageInWhatWasDurableAndChangesNothing) {
  open();
  append(2);
  ASSERT_TRUE(log->sync());
  append(2);
  log.reset();
  const std::string whole = contents()[segment_path(1)];
  const std::size_t record = (whole.size() - kSegmentHeaderSize) / 4;
  // The third record says that the second was durable; losing the third itself is a torn tail.
  for (std::size_t offset = 0; offset < kSegmentHeaderSize + 2 * record; offset += 5) {
    std::string damaged = whole;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 0x10);
    overwrite(segment_path(1), damaged);
    const auto before = contents();
    auto opened = try_open();
    EXPECT_EQ(contents(), before) << offset;
    if (opened) {
      // Padding, or a compressed page that still expands to the same.
      EXPECT_EQ(opened->log->end().position.txid, Txid{4}) << offset;
      continue;
    }
    EXPECT_TRUE(opened.error().code == ErrorCode::kCorrupt) << opened.error().message;
    EXPECT_NE(opened.error().message.find(segment_path(1)), std::string::npos);
  }
  std::string damaged = whole;
  damaged[kSegmentHeaderSize + 2 * record + 9] ^= 1;
  overwrite(segment_path(1), damaged);
  EXPECT_EQ(open(), 2 * record);
}

TEST_F(LogTest, RefusesDamageBeforeTheLastSegment) {
  options.segment_size_max = 1;
  open();
  append(3);
  log.reset();
  std::string whole = contents()[segment_path(2)];
  for (std::size_t size : {std::size_t{0}, kSegmentHeaderSize - 1, kSegmentHeaderSize, whole.size() - 1}) {
    overwrite(segment_path(2), whole.substr(0, size));
    const auto before = contents();
    EXPECT_EQ(try_open().error().code, ErrorCode::kCorrupt) << size;
    EXPECT_EQ(contents(), before);
  }
  std::filesystem::remove(segment_path(2));
  EXPECT_EQ(try_open().error().code, ErrorCode::kCorrupt);
}

TEST_F(LogTest, ATornHeaderAfterATrustedSegmentLeavesTheLogAtThatSegmentsEnd) {
  options.segment_size_max = 1;  // a segment for each record
  open();
  append(1);
  const LogState first = log->end();
  append(1);
  log.reset();
  overwrite(segment_path(2), "torn");
  open(Txid{1});
  EXPECT_EQ(log->end(), first);
  database.move_to(first.position.txid, first.position.checksum);
  append(1);
  log.reset();
  open();
  EXPECT_EQ(read_all(Txid{2}), 2u);
}

TEST_F(LogTest, ATornHeaderWhoseNameSaysThatRecordsAreMissingIsCorruption) {
  options.segment_size_max = 1;
  open();
  append(2);
  log.reset();
  std::filesystem::resize_file(segment_path(1), kSegmentHeaderSize);
  overwrite(segment_path(2), "torn");
  const auto before = contents();
  for (Txid trusted : {Txid{}, Txid{1}}) {
    auto opened = try_open(trusted);
    ASSERT_FALSE(opened);
    EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(contents(), before);
  }
}

TEST_F(LogTest, RemovesALastSegmentWithATornHeader) {
  options.segment_size_max = 1;
  open();
  append(2);
  for (std::size_t size : {0, 1, 127}) {
    log.reset();
    overwrite(segment_path(3), std::string(size, 'x'));
    EXPECT_EQ(open(), size);
    EXPECT_EQ(log->end().position.txid, Txid{2});
    EXPECT_FALSE(std::filesystem::exists(segment_path(3)));
  }
  append(1);
  open();
  EXPECT_EQ(read_all(Txid{3}), 3u);
}

TEST_F(LogTest, RefusesAnotherDatabasesLog) {
  open();
  log.reset();
  auto opened = Log::open(files, clock, directory, DatabaseId{99}, {}, options, {});
  EXPECT_EQ(opened.error().code, ErrorCode::kCorrupt);
}

TEST_F(LogTest, TakesTheLastRecordBackOnce) {
  open();
  append(2);
  const LogState end = log->end();
  Change lost = database.change(1);
  ASSERT_TRUE(log->append(lost.record, lost.image));
  ASSERT_TRUE(log->sync());
  ASSERT_TRUE(log->cut_last());
  EXPECT_EQ(log->end(), end);
  EXPECT_EQ(log->synced_txid(), Txid{2});
  EXPECT_EQ(log->cut_last().error().code, ErrorCode::kInvalid);
  ASSERT_TRUE(try_append(2));
  open();
  EXPECT_EQ(read_all(Txid{3}), 3u);
}

TEST_F(LogTest, StreamsAnImageOfUnknownLength) {
  database = TinyDatabase(65536);
  open();
  append(1);
  Change made = database.change(3);
  {
    auto appender = log->begin(made.record);
    ASSERT_TRUE(appender);
    ASSERT_TRUE(appender->write(Bytes(made.image).first(100)));
    EXPECT_EQ(try_append().error().code, ErrorCode::kInvalid) << "one at a time";
  }
  EXPECT_EQ(log->end().position.txid, Txid{1}) << "aborted";
  auto appender = log->begin(made.record);
  ASSERT_TRUE(appender);
  for (std::size_t at = 0; at < made.image.size(); at += 7) {
    ASSERT_TRUE(
        appender->write(Bytes(made.image).subspan(at, std::min<std::size_t>(7, made.image.size() - at))));
  }
  auto info = appender->commit();
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->image_size, made.image.size());
  database.accept(made);
  append(1);
  open();
  EXPECT_EQ(read_all(Txid{3}), 3u);
}

TEST_F(LogTest, RefusesAStreamedImageThatIsNotTheAnnouncedOne) {
  open();
  append(1);
  Change made = database.change(3);
  auto appender = log->begin(made.record);
  ASSERT_TRUE(appender->write(Bytes(made.image).first(made.image.size() - 16)));
  EXPECT_EQ(appender->commit().error().code, ErrorCode::kInvalid);
  append(1);
  open();
  EXPECT_EQ(read_all(Txid{2}), 2u);
}

TEST_F(LogTest, GroupsTheSyncsOfManyThreads) {
  open();
  files.sync_delay_us = 1000;
  const int before = files.sync_count();
  std::mutex owner;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        Txid mine;
        {
          std::lock_guard lock(owner);
          auto info = try_append(i);
          ASSERT_TRUE(info);
          mine = info->max_txid;
        }
        ASSERT_TRUE(log->sync());
        ASSERT_GE(log->synced_txid(), mine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(files.sync_count() - before, 100) << "200 callers";
  const int after = files.sync_count();
  ASSERT_TRUE(log->sync());
  EXPECT_EQ(files.sync_count(), after) << "nothing new";
}

TEST_F(LogTest, AFailedSyncPoisonsForEver) {
  open();
  append(1);
  files.fail_nth(0, EIO, "log: sync");
  EXPECT_EQ(log->sync().error().code, ErrorCode::kIo);
  EXPECT_EQ(log->sync().error().code, ErrorCode::kIo);
  EXPECT_EQ(try_append().error().code, ErrorCode::kIo);
  EXPECT_EQ(log->synced_txid(), Txid{});
}

// Every changing call of a run with rolls, streaming and a reset, failing once with each errno. Whatever was
// acknowledged must be there afterwards, and no unfinished record.
TEST_F(LogTest, SurvivesAFailureOfEveryCall) {
  options.segment_size_max = 400;
  for (int errno_value : {ENOSPC, EIO}) {
    for (int nth = 0;; ++nth) {
      std::filesystem::remove_all(directory);
      database = TinyDatabase();
      open();
      files.fail_nth(nth, errno_value);
      for (int i = 0; i < 6; ++i) {
        if (i % 2 == 0) {
          (void)try_append(i);
        } else {
          Change made = database.change(i);
          auto appender = log->begin(made.record);
          if (appender && appender->write(made.image) && appender->commit()) database.accept(made);
        }
        (void)log->sync();
      }
      const bool fired = files.fired();
      const LogState end = log->end();
      if (fired && errno_value == ENOSPC && try_append(9)) {
        EXPECT_EQ(log->end().position.txid, end.position.txid.next());
      }
      const LogState last = log->end();
      files.stop_failing();
      auto opened = try_open();
      ASSERT_TRUE(opened) << nth << ": " << opened.error().message;
      EXPECT_EQ(opened->log->end(), last) << nth;
      EXPECT_EQ(read_all(last.position.txid), last.position.txid.value) << nth;
      if (!fired) break;
    }
  }
}

TEST_F(LogTest, NoSpaceIsOverWhenThereIsRoom) {
  open();
  append(2);
  for (int nth = 0; nth < 3; ++nth) {
    files.fail_nth(0, ENOSPC, "log: append");
    EXPECT_EQ(try_append().error().code, ErrorCode::kNoSpace);
    append(1);
  }
  open();
  EXPECT_EQ(read_all(Txid{5}), 5u);
}

TEST_F(LogTest, RetentionRemovesOldSegmentsBeyondABudget) {
  options.segment_size_max = 1;
  options.retain_bytes = 1 << 20;
  options.retain_time_ms = 1000;
  open();
  append(6);
  ASSERT_TRUE(log->retain(Txid{6}));
  EXPECT_EQ(log->first_txid(), Txid{1}) << "within both budgets";
  clock.now_ms = 5000;
  ASSERT_TRUE(log->retain(Txid{4}, std::vector<Pin>{{Txid{3}}, {Txid{2}}}));
  EXPECT_EQ(log->first_txid(), Txid{3}) << "pinned";
  ASSERT_TRUE(log->retain(Txid{4}));
  EXPECT_EQ(log->first_txid(), Txid{5}) << "kept for replay";
  ASSERT_TRUE(log->retain(Txid{99}));
  EXPECT_EQ(log->first_txid(), Txid{6}) << "the one being written";
  clock.now_ms = 1000;
  options.retain_bytes = 0;
  append(1);
  open();
  append(1);
  ASSERT_TRUE(log->retain(Txid{99}));
  EXPECT_EQ(log->first_txid(), Txid{8});
  EXPECT_EQ(log->end().position.txid, Txid{8});
  open();
  EXPECT_EQ(log->end().position.txid, Txid{8});
}

TEST_F(LogTest, ReadersHoldTheLogOnlyWithinTheByteBudgetAndWhatTheyMayHaveBeyondIt) {
  options.segment_size_max = 1;
  options.retain_bytes = 0;
  open();
  append(6);
  const std::uint64_t all = log->bytes_on_disk();
  ASSERT_TRUE(log->retain(Txid{6}, std::vector<Pin>{{Txid{0}, Pin::kWhateverItTakes}}));
  EXPECT_EQ(log->first_txid(), Txid{1});
  ASSERT_TRUE(log->retain(Txid{6}, std::vector<Pin>{{Txid{0}, all}}));
  EXPECT_EQ(log->first_txid(), Txid{1}) << "not beyond what it may have";
  ASSERT_TRUE(log->retain(Txid{6}, std::vector<Pin>{{Txid{0}, all - 1}}));
  EXPECT_EQ(log->first_txid(), Txid{2});
  ASSERT_TRUE(log->retain(Txid{6}, std::vector<Pin>{{Txid{0}}, {Txid{3}, all}}));
  EXPECT_EQ(log->first_txid(), Txid{4}) << "each reader has its own";
  ASSERT_TRUE(log->retain(Txid{6}, std::vector<Pin>{{Txid{3}}}));
  EXPECT_EQ(log->first_txid(), Txid{6}) << "the budget wins";
}

TEST_F(LogTest, ResetStartsAnewEvenAtAnEarlierTransaction) {
  for (int nth = -1;; ++nth) {
    std::filesystem::remove_all(directory);
    options.segment_size_max = 1;
    database = TinyDatabase();
    open();
    append(5);
    const LogState old = log->end();
    files.fail_nth(nth, EIO);
    database.move_to(Txid{2}, Checksum{Checksum::kFlag | 77});
    database.epoch = Epoch{2};
    Change snapshot = database.change(1, kSnapshot);
    bool committed = false;
    {
      auto appender = log->reset(snapshot.record);
      committed = appender && appender->write(snapshot.image) && appender->commit();
    }
    const bool fired = files.fired();
    files.stop_failing();
    if (committed) {
      database.accept(snapshot);
      append(2);
    }
    open();
    const LogState now = log->end();
    if (committed) {
      EXPECT_EQ(now.position.txid, Txid{5});
      EXPECT_EQ(now.position.epoch, Epoch{2});
      EXPECT_EQ(log->first_txid(), Txid{3});
      EXPECT_GT(now.log_offset, old.log_offset);
      EXPECT_EQ(read_all(Txid{5}), 3u);
    } else {
      EXPECT_TRUE(now == old || now.position.checksum == snapshot.record.post) << "old or new, never between";
    }
    if (nth >= 0 && !fired) break;
  }
}

// A replica that had followed another primary in between never became the same again.
TEST_F(LogTest, ResetGoesBackToAnEarlierEpoch) {
  options.segment_size_max = 1;
  database.epoch = Epoch{3};
  open();
  append(5);
  database = TinyDatabase();
  database.epoch = Epoch{2};
  database.move_to(Txid{2}, Checksum{Checksum::kFlag | 77});
  Change snapshot = database.change(1, kSnapshot);
  {
    auto appender = log->reset(snapshot.record);
    ASSERT_TRUE(appender) << appender.error().message;
    ASSERT_TRUE(appender->write(snapshot.image));
    ASSERT_TRUE(appender->commit());
  }
  database.accept(snapshot);
  append(2);
  for (const Txid trusted : {Txid{0}, Txid{5}}) {
    open(trusted);
    EXPECT_EQ(log->end().position.txid, Txid{5});
    EXPECT_EQ(log->end().position.epoch, Epoch{2});
  }
}

}  // namespace rillfs::log
