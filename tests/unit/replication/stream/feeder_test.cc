// Goal: turns are fair, and nothing is sent twice or left out. Method: what fill() encodes, parsed again; no
// network and no time.
#include "replication/stream/feeder.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "replication/stream/page_batch.h"
#include "replication/stream/page_sums_answer.h"
#include "replication/wire/frame.h"
#include "unit/support/fake_databases.h"

namespace rillfs::stream {

using namespace rillfs::testing;

namespace {

std::vector<wire::Frame> parse(Bytes bytes) {
  wire::FrameParser parser;
  std::vector<wire::Frame> frames;
  while (!bytes.empty()) {
    auto space = parser.space();
    std::size_t count = std::min(space.size(), bytes.size());
    std::copy_n(bytes.begin(), count, space.begin());
    parser.filled(count);
    bytes = bytes.subspan(count);
    while (auto frame = parser.next().value()) frames.push_back(std::move(*frame));
  }
  EXPECT_EQ(parser.pending(), 0u);
  return frames;
}

}  // namespace

class FeederTurns : public ::testing::Test {
 protected:
  std::vector<wire::Frame> fill(std::vector<DatabaseId> changed = {}) {
    Buffer out;
    more = feeder->fill(changed, {}, out);
    size = out.size();
    return parse(out);
  }
  void start(std::unordered_map<DatabaseId, Position> have = {},
             std::uint32_t version = wire::kProtocolVersionMin) {
    feeder = std::make_unique<Feeder>(source, record, std::move(have), version);
    auto catalog = fill();
    ASSERT_TRUE(catalog.back().message.has_catalog_end());
  }
  FakeSource source;
  SystemClock clock;
  ReplicaRecord record{NodeId{1}, "replica", clock};
  std::unique_ptr<Feeder> feeder;
  bool more = true;
  std::size_t size = 0;
};

TEST_F(FeederTurns, ACommitPassesABigSnapshotWithinOneFill) {
  auto big = source.create("big.db", 5000);
  auto small = source.create("small.db", 0);
  start();
  fill();
  int snapshot_batches_before = 0;
  for (int i = 0; i < 5; ++i) {
    source.commit(small, "commit");
    bool sent = false;
    for (const auto& frame : fill({small})) {
      if (frame.message.has_snapshot_pages()) ++snapshot_batches_before;
      if (frame.message.has_change_set() && frame.message.change_set().id() == small.value) sent = true;
    }
    EXPECT_TRUE(sent);
    EXPECT_TRUE(more);  // the snapshot goes on
  }
  EXPECT_GT(snapshot_batches_before, 0);
  // And the snapshot itself is not starved.
  std::uint32_t pages = 0;
  bool ended = false;
  while (more) {
    for (const auto& frame : fill())
      ended |= frame.message.has_snapshot_end() && frame.message.snapshot_end().id() == big.value;
    ASSERT_LT(++pages, 1000u);
  }
  EXPECT_TRUE(ended);
}

TEST_F(FeederTurns, BigBacklogsInterleaveInQuanta) {
  auto one = source.create("one.db"), two = source.create("two.db");
  std::unordered_map<DatabaseId, Position> have = {{one, {}}, {two, {}}};
  for (auto id : {one, two}) source.commit(id, std::string(3'000'000, 'x'));
  start(have);
  std::size_t run = 0, longest_run = 0;
  std::uint64_t last = 0;
  while (more) {
    for (const auto& frame : fill()) {
      if (!frame.message.has_chunk()) continue;
      run = frame.message.chunk().id() == last ? run + frame.payload.size() : frame.payload.size();
      last = frame.message.chunk().id();
      longest_run = std::max(longest_run, run);
    }
    EXPECT_LE(size, 3 * Feeder::kQuantum);
  }
  EXPECT_LE(longest_run, 2 * Feeder::kQuantum);
}

// What was merged stands for much more than is sent: reading it has taken its time, and it lies in memory.
TEST_F(FeederTurns, AMergedChangeSetIsSentWholeAndEndsTheFill) {
  const std::string image(3 * Feeder::kQuantum, 'x');
  std::vector<DatabaseId> ids{source.create("a.db"), source.create("b.db")};
  for (DatabaseId id : ids) source.commit(id, image, 1, 100);
  start({{ids[0], Position{}}, {ids[1], Position{}}});
  std::set<std::uint64_t> sent;
  for (int i = 0; i < 2; ++i) {
    const auto frames = fill();
    EXPECT_TRUE(more);
    std::size_t bytes = 0;
    for (const auto& frame : frames) {
      if (frame.message.has_change_set()) sent.insert(frame.message.change_set().id());
      bytes += frame.payload.size();
    }
    EXPECT_EQ(bytes, image.size());
    EXPECT_EQ(sent.size(), static_cast<std::size_t>(i) + 1) << "one at a time";
  }
  while (more) EXPECT_TRUE(fill().empty());
}

class FeederSaysWhatItKnows : public FeederTurns {
 protected:
  /// Of the position that the subscriber has, with the snapshot that it is sent.
  wire::History history(const Position& has, std::uint32_t version = wire::kProtocolVersion) {
    start({{id, has}}, version);
    for (const auto& frame : fill())
      if (frame.message.has_snapshot_begin()) return frame.message.snapshot_begin().history();
    ADD_FAILURE() << "no snapshot";
    return {};
  }
  Position another(Txid txid) const { return {Epoch{1}, txid, Checksum{Checksum::kFlag | 99}}; }
  DatabaseId id = source.create("app.db", 1);
};

TEST_F(FeederSaysWhatItKnows, OfAPositionThatIsNotInItsHistory) {
  for (int i = 0; i < 5; ++i) source.commit(id, "commit");
  EXPECT_EQ(history(another(Txid{5})), wire::HISTORY_ANOTHER);
  EXPECT_EQ(history(another(Txid{3})), wire::HISTORY_ANOTHER) << "it has gone further since";
  EXPECT_EQ(history(another(Txid{9})), wire::HISTORY_ANOTHER);
  EXPECT_EQ(history(another(Txid{3}), 1), wire::HISTORY_ANOTHER) << "by a whole snapshot";
}

TEST_F(FeederSaysWhatItKnows, ThatItDoesNotKnowWhatItsLogHasForgotten) {
  const Position once = source.commit(id, "commit");
  source.commit(id, "commit");
  source.truncate_log(id);
  source.commit(id, "commit");
  EXPECT_EQ(history(once), wire::HISTORY_UNKNOWN);
  EXPECT_EQ(history(another(Txid{1})), wire::HISTORY_UNKNOWN);
}

TEST_F(FeederSaysWhatItKnows, OfASubscriberThatItHasOvertakenInTheSameSession) {
  const Position first = source.commit(id, "commit");
  start({{id, first}}, wire::kProtocolVersion);
  fill();
  source.commit(id, "commit");
  source.commit(id, "commit");
  source.truncate_log(id);
  bool said = false;
  for (const auto& frame : fill({id}))
    if (frame.message.has_snapshot_begin())
      said = frame.message.snapshot_begin().history() == wire::HISTORY_SHARED;
  EXPECT_TRUE(said);
}

TEST_F(FeederSaysWhatItKnows, AlsoToOneThatAsksForASnapshot) {
  for (int i = 0; i < 3; ++i) source.commit(id, "commit");
  start({{id, another(Txid{2})}}, wire::kProtocolVersion);
  Buffer out;
  feeder->fill({}, std::vector<ResyncRequest>{{id, false}}, out);
  bool said = false;
  for (const auto& frame : parse(out))
    if (frame.message.has_snapshot_begin())
      said = frame.message.snapshot_begin().history() == wire::HISTORY_ANOTHER;
  EXPECT_TRUE(said);
}

TEST_F(FeederTurns, WhatKeepsTheLogBesideASnapshotStaysUntilTheSnapshotIsExact) {
  const DatabaseId id = source.create("app.db", 2000);
  source.commit(id, "before");
  start();
  fill();
  EXPECT_EQ(source.snapshots_open(), 1);
  source.commit(id, std::string(1'000'000, 'x'));  // meanwhile
  bool ended = false;
  while (more) {
    for (const auto& frame : fill({id})) ended |= frame.message.has_snapshot_end();
    if (ended && more) {
      EXPECT_EQ(source.snapshots_open(), 1) << "the change set that makes it exact is on its way";
    }
  }
  EXPECT_TRUE(ended);
  EXPECT_EQ(source.snapshots_open(), 0);
}

/// Its parameter: by difference.
class FeederMeetsABusyPage : public FeederTurns, public ::testing::WithParamInterface<bool> {
 protected:
  /// Everything up to where it does not go on by itself; a question is answered with sums of nothing.
  void fill_all(std::vector<DatabaseId> changed = {}) {
    do {
      for (const auto& frame : fill(std::exchange(changed, {}))) {
        const wire::Message& message = frame.message;
        begun += message.has_snapshot_begin();
        ended += message.has_snapshot_end();
        if (message.has_snapshot_pages()) {
          ASSERT_TRUE(for_each_page(message.snapshot_pages(), frame.payload, kFakePageSize,
                                    [&](Pgno pgno, Bytes) -> Result<void> {
                                      pages.push_back(pgno.value);
                                      return {};
                                    }));
        }
        if (!message.has_sums_wanted()) continue;
        std::size_t count = 0;
        for (const auto& run : message.sums_wanted().runs())
          count += sum_count(run.count(), message.sums_wanted().range());
        wire::Sums sums;
        sums.set_id(id.value);
        sums.set_request(message.sums_wanted().request());
        ASSERT_TRUE(feeder->answered(sums, Buffer(count * 8)));
        more = true;
      }
    } while (more);
  }
  void begin() {
    id = source.create("app.db", 500);
    if (GetParam()) {
      start({{id, Position{Epoch{1}, Txid{9}, Checksum{Checksum::kFlag | 9}}}}, wire::kVersionWithDifference);
    } else {
      start();
    }
  }
  std::vector<std::uint32_t> up_to(std::uint32_t last) {
    std::vector<std::uint32_t> all(last);
    std::iota(all.begin(), all.end(), 1);
    return all;
  }
  DatabaseId id;
  std::vector<std::uint32_t> pages;
  int begun = 0;
  int ended = 0;
};

TEST_P(FeederMeetsABusyPage, AndGoesOnFromThereLater) {
  begin();
  source.refuse_page(id, 300, ErrorCode::kBusy);
  fill_all();
  EXPECT_EQ(pages, up_to(299));  // also those of the batch that it would have been in
  for (int i = 0; i < 3; ++i) {
    feeder->retry_failed();
    fill_all();
  }
  EXPECT_EQ(pages.size(), 299u);
  source.refuse_page(id, 300, {});
  fill_all();
  EXPECT_EQ(pages.size(), 299u);  // nobody says that it can be read
  feeder->retry_failed();
  fill_all();
  EXPECT_EQ(pages, up_to(500));
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(ended, 1);
}

TEST_P(FeederMeetsABusyPage, AndGoesOnFromThereWithTheNextCommit) {
  begin();
  source.refuse_page(id, 300, ErrorCode::kBusy);
  fill_all();
  source.refuse_page(id, 300, {});
  source.commit(id, "taken over");
  fill_all({id});
  EXPECT_EQ(pages, up_to(500));
  EXPECT_EQ(begun, 1);
  EXPECT_EQ(ended, 1);
}

TEST_P(FeederMeetsABusyPage, AndBeginsAnewWhenItIsDamaged) {
  begin();
  source.refuse_page(id, 300, ErrorCode::kCorrupt);
  fill_all();
  EXPECT_EQ(pages, up_to(299));
  source.refuse_page(id, 300, {});
  feeder->retry_failed();
  fill_all();
  EXPECT_EQ(pages.size(), 299u + 500u);
  EXPECT_EQ(begun, 2);
  EXPECT_EQ(ended, 1);
}

INSTANTIATE_TEST_SUITE_P(Snapshot, FeederMeetsABusyPage, ::testing::Bool(), [](const auto& by_difference) {
  return by_difference.param ? "Difference" : "Whole";
});

TEST_F(FeederTurns, NothingIsSentWhenNothingHasChanged) {
  auto id = source.create("app.db");
  source.commit(id, "one");
  start({{id, source.position(id)}});
  EXPECT_TRUE(fill().empty());
  EXPECT_FALSE(more);
}

TEST_F(FeederTurns, DropsOnlyWhatThePrimaryDoesNotHave) {
  source.create("app.db");
  feeder = std::make_unique<Feeder>(
      source, record, std::unordered_map<DatabaseId, Position>{{DatabaseId{1}, {}}, {DatabaseId{99}, {}}});
  auto frames = fill();
  ASSERT_EQ(frames.size(), 3u);
  EXPECT_EQ(frames[0].message.drop().id(), 99u);
  EXPECT_EQ(frames[1].message.announce().id(), 1u);
}

TEST(PageBatch, RefusesBatchesThatDoNotFitTogether) {
  PageBatch batch(4096);
  batch.add(Pgno{1}, Buffer(4096, 1)).value();
  batch.add(Pgno{2}, Buffer(4096, 2)).value();
  Buffer out;
  batch.append_frame(DatabaseId{1}, out);
  auto frame = parse(out).at(0);
  auto count = [&](const wire::SnapshotPages& pages, Bytes payload, std::uint32_t page_size = 4096) {
    int n = 0;
    auto walked = for_each_page(pages, payload, page_size, [&](Pgno, Bytes) -> Result<void> {
      ++n;
      return {};
    });
    return walked ? n : -1;
  };
  const auto good = frame.message.snapshot_pages();
  EXPECT_EQ(count(good, frame.payload), 2);
  EXPECT_EQ(count(good, Bytes(frame.payload).first(frame.payload.size() - 1)), -1);
  EXPECT_EQ(count(good, frame.payload, 8192), -1);
  auto bad = good;
  bad.set_raw_size(0xffffffff);
  EXPECT_EQ(count(bad, frame.payload), -1);
  bad = good;
  bad.mutable_runs(0)->set_count(0xffffffff);
  EXPECT_EQ(count(bad, frame.payload), -1);
  bad = good;
  bad.mutable_runs(0)->set_count(1);
  EXPECT_EQ(count(bad, frame.payload), -1);
  bad = good;
  bad.mutable_runs(0)->set_first(0);
  EXPECT_EQ(count(bad, frame.payload), -1);
}

}  // namespace rillfs::stream
