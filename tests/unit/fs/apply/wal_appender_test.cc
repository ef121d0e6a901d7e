// Goal: a replica's readers see whole transactions in order while they are appended, whatever else happens.
// Method: transactions of a real SQLite are appended to a copy that real SQLite connections, in this process
// and in others, read, write and checkpoint at the same time; at the end both databases must be the same
// bytes.
#include "fs/apply/wal_appender.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tests/unit/fs/apply/change_sets.h"

namespace rillfs::apply {
namespace {

using namespace std::chrono_literals;
using test::read_all;
using test::Sqlite;
using test::TemporaryDirectory;

class WalAppenderTest : public testing::Test {
 protected:
  void make(std::uint32_t page_size = 4096) {
    source_ = std::make_unique<Source>(dir_.file("source.db"), page_size);
    source_->copy_to(replica());
  }
  std::string replica() const { return dir_.file("replica.db"); }
  std::unique_ptr<WalAppender> open(WalAppenderOptions options = {}) {
    auto appender = WalAppender::open(replica(), options, clock_, random_);
    EXPECT_TRUE(appender) << appender.error().message;
    return appender ? std::move(*appender) : nullptr;
  }
  static AppendResult append(WalAppender& appender, const ChangeSet& set) {
    ChangeSetPages pages(set);
    auto result = appender.append(pages, set.commit);
    EXPECT_TRUE(result) << result.error().message;
    return result ? *result : AppendResult{};
  }
  /// Nobody has either database open after this.
  void expect_identical(std::unique_ptr<WalAppender> appender) {
    ASSERT_TRUE(appender->close(CloseMode::kCheckpointAndDelete));
    appender.reset();
    expect_files_identical();
  }
  void expect_files_identical() {
    EXPECT_FALSE(std::filesystem::exists(replica() + "-wal"));
    source_->checkpoint();
    EXPECT_EQ(Sqlite(replica()).text("PRAGMA integrity_check"), "ok");
    EXPECT_TRUE(read_all(source_->path()) == read_all(replica()));
  }

  TemporaryDirectory dir_;
  SystemClock clock_;
  SystemRandom random_;
  std::unique_ptr<Source> source_;
};

class WalAppenderPageSizes : public WalAppenderTest, public testing::WithParamInterface<std::uint32_t> {};
INSTANTIATE_TEST_SUITE_P(WalAppender, WalAppenderPageSizes, testing::ValuesIn(test::kAllPageSizes));

TEST_P(WalAppenderPageSizes, ReadersSeeWholeTransactionsWhileCheckpointsRun) {
  make(GetParam());
  const std::string path = replica();
  ChildProcess reader_process([&path](ChildProcess& self) {
    Reader reader(path);
    self.say_ready();
    while (!self.should_stop()) {
      const std::string wrong = reader.look();
      if (wrong.empty()) continue;
      fprintf(stderr, "reader process: %s\n", wrong.c_str());
      return false;
    }
    return true;
  });
  reader_process.wait_ready();
  auto appender = open();
  ASSERT_TRUE(appender);
  int restarts = 0;
  {
    std::jthread reader_thread([&](std::stop_token stop) {
      Reader reader(path);
      while (!stop.stop_requested()) ASSERT_EQ(reader.look(), "");
    });
    std::jthread checkpoints([&](std::stop_token stop) {
      while (!stop.stop_requested()) {
        (void)appender->checkpoint_passive();
        std::this_thread::sleep_for(2ms);
      }
    });
    for (int i = 0; i < 250; ++i) restarts += append(*appender, source_->transfer()).restarted;
  }
  EXPECT_TRUE(reader_process.stop());
  EXPECT_GE(restarts, 1);
  EXPECT_EQ(Reader(path).look(), "");
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, NamesAnotherProcessThatIsIdleInWalModeUntilItLeaves) {
  make();
  const std::string path = replica();
  ChildProcess process([&path](ChildProcess& self) {
    Reader reader(path);
    const bool good = reader.look().empty();
    self.say_ready();
    self.wait_for_stop();
    return good;
  });
  process.wait_ready();
  auto appender = open();
  ASSERT_TRUE(appender);
  auto other = appender->other_user();
  ASSERT_TRUE(other && *other);
  EXPECT_EQ((*other)->pid, process.pid());
  EXPECT_TRUE(process.stop());
  other = appender->other_user();
  ASSERT_TRUE(other);
  EXPECT_FALSE(*other) << (*other)->to_text();
  append(*appender, source_->transfer());
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, KeepsOtherWritersOutUntilItIsClosed) {
  make();
  auto appender = open();
  ASSERT_TRUE(appender);
  ASSERT_TRUE(appender->hold_writer_lock(true));
  append(*appender, source_->transfer());
  // Closing as the last one checkpoints and deletes the WAL, with the lock held.
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, OpenReaderNeitherBlocksNorSeesChangesAndTheWalRestartsWhenItLeaves) {
  make(1024);
  auto appender = open();
  append(*appender, source_->transfer());
  Sqlite reader(replica());
  reader.run("BEGIN");
  ASSERT_EQ(reader.number("SELECT n FROM counter"), 1);
  std::uint32_t frames = 0;
  for (int i = 0; i < 3000; ++i) {
    const AppendResult result = append(*appender, source_->transfer());
    ASSERT_FALSE(result.restarted);
    ASSERT_GT(result.state.frames, frames);
    frames = result.state.frames;
    if (i % 100 == 0) {
      ASSERT_TRUE(appender->checkpoint_passive());
    }
  }
  EXPECT_GT(frames, sqlite::kFramesRegion0 + sqlite::kFramesPerRegion);  // three regions of the index
  EXPECT_EQ(reader.number("SELECT n FROM counter"), 1);
  EXPECT_EQ(reader.number("SELECT sum(bal) FROM acc"), Source::kSum);
  EXPECT_LT(appender->state()->backfilled, frames);
  reader.run("COMMIT");
  EXPECT_EQ(reader.number("SELECT n FROM counter"), 3001);
  const auto checkpoint = appender->checkpoint_passive();
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->checkpointed, frames);
  const AppendResult result = append(*appender, source_->transfer());
  EXPECT_TRUE(result.restarted);
  EXPECT_LT(result.state.frames, 100U);
  EXPECT_EQ(reader.number("SELECT n FROM counter"), 3002);
}

TEST_F(WalAppenderTest, WalIsNotRestartedUnderAReaderOfItsLastFrame) {
  make();
  auto appender = open();
  append(*appender, source_->transfer());
  Sqlite reader(replica());
  reader.run("BEGIN");
  ASSERT_EQ(reader.number("SELECT n FROM counter"), 1);
  const auto checkpoint = appender->checkpoint_passive();
  ASSERT_EQ(checkpoint->checkpointed, checkpoint->in_wal);
  EXPECT_FALSE(append(*appender, source_->transfer()).restarted);
  EXPECT_EQ(reader.number("SELECT sum(bal) FROM acc"), Source::kSum);
  EXPECT_EQ(reader.number("SELECT n FROM counter"), 1);
}

TEST_F(WalAppenderTest, RestartCutsAWalThatIsTooLong) {
  make();
  auto appender = open({.wal_size_keep = 100000});
  for (int i = 0; i < 30; ++i) append(*appender, source_->transfer());
  ASSERT_GT(appender->state()->wal_bytes, 100000U);
  ASSERT_TRUE(appender->checkpoint_passive());
  EXPECT_LT(append(*appender, source_->transfer()).state.wal_bytes, 100000U);
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, FailedAppendIsInvisibleAndItsFramesAreOverwritten) {
  make(512);
  auto appender = open();
  Sqlite reader(replica());
  append(*appender, source_->transfer());
  // More than one chunk, so that frames and index entries of the abandoned transaction are there.
  const ChangeSet large = source_->commit("INSERT INTO log(x) VALUES(hex(zeroblob(1500000)))");
  const std::uint32_t frames = appender->state()->frames;
  ChangeSetPages failing(large, static_cast<int>(large.pages.size()) - 5);
  EXPECT_FALSE(appender->append(failing, large.commit));
  EXPECT_EQ(appender->state()->frames, frames);
  EXPECT_EQ(reader.number("SELECT n FROM counter"), 1);
  EXPECT_EQ(reader.number("SELECT max(length(x)) > 100000 FROM log"), 0);
  EXPECT_GT(appender->state()->wal_bytes, 1000000U);  // otherwise nothing was abandoned
  append(*appender, large);
  append(*appender, source_->transfer());
  EXPECT_EQ(reader.number("SELECT max(length(x)) FROM log"), 3000000);
  EXPECT_EQ(reader.text("PRAGMA integrity_check"), "ok");
  EXPECT_EQ(reader.try_run("PRAGMA journal_mode"), SQLITE_OK);
}

TEST_F(WalAppenderTest, AbandonedFramesThatAreNotWrittenAgainLeaveNoTrace) {
  make(512);
  auto appender = open();
  Sqlite reader(replica());
  append(*appender, source_->transfer());
  ChangeSet other;  // pages that the database has, with nonsense in them
  other.commit = Pgno{9000};
  for (std::uint32_t pgno = 1; pgno <= 9000; ++pgno) other.pages[Pgno{pgno}] = Buffer(512, 0xee);
  ChangeSetPages failing(other, 8990);
  EXPECT_FALSE(appender->append(failing, other.commit));
  for (int i = 0; i < 60; ++i) {
    append(*appender, source_->transfer());
    ASSERT_EQ(reader.number("SELECT sum(bal) FROM acc"), Source::kSum);
    ASSERT_EQ(reader.number("SELECT n FROM counter"), i + 2);
  }
  EXPECT_EQ(reader.text("PRAGMA integrity_check"), "ok");
  ASSERT_TRUE(appender->checkpoint_passive());
  EXPECT_EQ(reader.text("PRAGMA integrity_check"), "ok");
}

TEST_F(WalAppenderTest, DatabaseGrowsAndShrinks) {
  make();
  auto appender = open();
  Sqlite reader(replica());
  append(*appender, source_->commit("INSERT INTO log(x) VALUES(hex(randomblob(3000000)))"));
  const auto large = reader.number("PRAGMA page_count");
  EXPECT_EQ(reader.number("SELECT max(length(x)) FROM log"), 6000000);
  append(*appender, source_->commit("DELETE FROM log"));
  append(*appender, source_->commit("VACUUM"));
  EXPECT_LT(reader.number("PRAGMA page_count"), large / 10);
  EXPECT_EQ(appender->state()->size.value, reader.number("PRAGMA page_count"));
  EXPECT_EQ(reader.text("PRAGMA integrity_check"), "ok");
  ASSERT_TRUE(appender->checkpoint_passive());
  append(*appender, source_->transfer());
}

TEST_F(WalAppenderTest, ApplicationsRaceForTheWriteLock) {
  make();
  const std::string path = replica();
  ChildProcess writer([&path](ChildProcess& self) {
    Sqlite db(path);
    db.run("PRAGMA busy_timeout=5000");
    self.say_ready();
    bool good = true;
    while (!self.should_stop() && good) good = db.try_run("BEGIN IMMEDIATE; ROLLBACK") == SQLITE_OK;
    return good;
  });
  writer.wait_ready();
  auto appender = open();
  for (int i = 0; i < 300; ++i) append(*appender, source_->transfer());
  EXPECT_TRUE(writer.stop());
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, HeldWriterLockMakesWritersWaitAndReadersRead) {
  make();
  auto appender = open();
  ASSERT_TRUE(appender->hold_writer_lock(true));
  Sqlite db(replica());
  db.run("PRAGMA busy_timeout=30");
  EXPECT_EQ(db.try_run("BEGIN IMMEDIATE"), SQLITE_BUSY);
  append(*appender, source_->transfer());
  EXPECT_EQ(db.number("SELECT n FROM counter"), 1);
  EXPECT_EQ(db.try_run("BEGIN IMMEDIATE"), SQLITE_BUSY);
  ASSERT_TRUE(appender->hold_writer_lock(false));
  EXPECT_EQ(db.try_run("BEGIN IMMEDIATE; ROLLBACK"), SQLITE_OK);
}

TEST_F(WalAppenderTest, WaitForTheWriteLockIsBounded) {
  make();
  auto appender = open({.lock_wait = 50ms});
  Sqlite db(replica());
  db.run("BEGIN IMMEDIATE");
  const ChangeSet set = source_->transfer();
  ChangeSetPages pages(set);
  const auto result = appender->append(pages, set.commit);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kBusy);
  EXPECT_NE(result.error().message.find(std::to_string(getpid())), std::string::npos)
      << result.error().message;
  db.run("ROLLBACK");
  append(*appender, set);
}

TEST_F(WalAppenderTest, WalOutlivesTheLastApplicationAndAKeepingClose) {
  make();
  auto appender = open();
  append(*appender, source_->transfer());
  { Sqlite(replica()).number("SELECT n FROM counter"); }
  append(*appender, source_->transfer());
  ASSERT_TRUE(appender->close(CloseMode::kKeepWal));
  appender.reset();
  EXPECT_GT(std::filesystem::file_size(replica() + "-wal"), 0U);
  appender = open();
  EXPECT_GT(appender->state()->frames, 0U);
  append(*appender, source_->transfer());
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, InvalidIndexHeaderIsRecoveredFirst) {
  make();
  auto appender = open();
  append(*appender, source_->transfer());
  for (const bool held : {false, true}) {
    ASSERT_TRUE(appender->hold_writer_lock(held));
    {
      std::fstream shm(replica() + "-shm", std::ios::in | std::ios::out | std::ios::binary);
      shm.write(std::string(96, '\0').data(), 96);
      shm.flush();
      append(*appender, source_->transfer());
    }
    // Closing that stream dropped this process's locks; nobody else is there.
  }
  ASSERT_TRUE(appender->hold_writer_lock(false));
  EXPECT_EQ(Reader(replica()).look(), "");
}

TEST_F(WalAppenderTest, ApplicationsMayCheckpointInEveryMode) {
  make();
  auto appender = open();
  Sqlite db(replica());
  int restarts = 0;
  for (const char* mode : {"PASSIVE", "FULL", "RESTART", "TRUNCATE", "PASSIVE"}) {
    for (int i = 0; i < 5; ++i) restarts += append(*appender, source_->transfer()).restarted;
    db.run(std::string("PRAGMA wal_checkpoint(") + mode + ")");
  }
  restarts += append(*appender, source_->transfer()).restarted;
  EXPECT_EQ(restarts, 6);
  EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
}

TEST_F(WalAppenderTest, KilledAtAnyInstantLeavesAConsistentDatabase) {
  make(1024);
  std::vector<ChangeSet> log;
  for (int i = 0; i < 1500; ++i) log.push_back(source_->transfer());
  std::mt19937 random(7);
  const auto visible = [&] {
    Reader reader(replica());
    EXPECT_EQ(reader.look(), "");
    return static_cast<std::size_t>(reader.last_n());
  };
  int kills = 0;
  std::size_t done = 0;
  for (; done < log.size() && kills < 60; ++kills) {
    ChildProcess child([&, done](ChildProcess& self) {
      auto appender = WalAppender::open(replica(), {}, clock_, random_);
      if (!appender) return false;
      self.say_ready();
      for (std::size_t i = done; i < log.size(); ++i) {
        ChangeSetPages pages(log[i]);
        if (!(*appender)->append(pages, log[i].commit)) return false;
        if (i % 40 == 0) (void)(*appender)->checkpoint_passive();
      }
      self.wait_for_stop();
      return true;
    });
    // Every other time an application keeps the wal-index alive over the kill.
    auto witness = kills % 2 == 0 ? std::make_unique<Sqlite>(replica()) : nullptr;
    child.wait_ready();
    if (witness) {
      EXPECT_NE(witness->text("SELECT n FROM counter").substr(0, 6), "error:")
          << sqlite3_extended_errcode(witness->get());
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 2500));
    child.kill_now();
    const std::size_t now = visible();
    ASSERT_LE(now, log.size());
    ASSERT_GE(now, done);
    EXPECT_EQ(Sqlite(replica()).text("PRAGMA integrity_check"), "ok");
    if (witness) {
      EXPECT_EQ(witness->number("SELECT n FROM counter"), static_cast<std::int64_t>(now));
    }
    done = now;
  }
  EXPECT_GT(kills, 5);
  auto appender = open();
  for (; done < log.size(); ++done) append(*appender, log[done]);
  expect_identical(std::move(appender));
}

TEST_F(WalAppenderTest, RefusesWhatIsNoChangeSetOfThisDatabase) {
  make();
  auto appender = open();
  const auto code_of = [&](ChangeSet set) {
    ChangeSetPages pages(set);
    const auto result = appender->append(pages, set.commit);
    return result ? std::optional<ErrorCode>() : std::optional(result.error().code);
  };
  const Buffer page(4096, 1);
  EXPECT_EQ(code_of({{}, Pgno{0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of({{}, Pgno{1000}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of({{{Pgno{0}, page}}, Pgno{5}}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({{{Pgno{6}, page}}, Pgno{5}}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({{{Pgno{1}, Buffer(512)}}, Pgno{5}}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({{{sqlite::lock_page(4096), page}}, Pgno{0x7fffffff}}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({{}, appender->state()->size}), std::nullopt);  // nothing to do
  EXPECT_EQ(Sqlite(replica()).text("PRAGMA integrity_check"), "ok");
}

TEST_F(WalAppenderTest, RefusesADatabaseThatWasReplacedOrRemoved) {
  make();
  auto appender = open();
  const ChangeSet set = source_->transfer();
  std::filesystem::rename(replica(), dir_.file("moved.db"));
  ChangeSetPages pages(set);
  EXPECT_EQ(appender->append(pages, set.commit).error().code, ErrorCode::kNotFound);
  test::write_all(replica(), read_all(source_->path()));
  EXPECT_EQ(appender->append(pages, set.commit).error().code, ErrorCode::kInvalid);
}

TEST_F(WalAppenderTest, RefusesARollbackDatabaseAndWhatIsNone) {
  { Sqlite(replica()).run("CREATE TABLE t(x)"); }
  const auto rollback = WalAppender::open(replica(), {}, clock_, random_);
  ASSERT_FALSE(rollback);
  EXPECT_EQ(rollback.error().code, ErrorCode::kInvalid);
  test::write_all(dir_.file("text"), Buffer(5000, 'x'));
  EXPECT_EQ(WalAppender::open(dir_.file("text"), {}, clock_, random_).error().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(WalAppender::open(dir_.file("absent"), {}, clock_, random_));
}

}  // namespace
}  // namespace rillfs::apply
