// Goal: a rollback-mode database changes between its readers' transactions, never within one. Method: change
// sets are the differences between two states of a real database; applications are processes of their own,
// because the writer's descriptors would drop the locks of connections in its own process.
#include "fs/apply/rollback_writer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "tests/unit/fs/apply/change_sets.h"

namespace rillfs::apply {
namespace {

using namespace std::chrono_literals;
using test::read_all;
using test::Sqlite;
using test::TemporaryDirectory;
using test::write_all;

ChangeSet difference(const Buffer& before, const Buffer& after, std::uint32_t page_size) {
  ChangeSet set;
  set.commit = Pgno{static_cast<std::uint32_t>(after.size() / page_size)};
  for (std::size_t at = 0; at < after.size(); at += page_size) {
    const auto page = after.begin() + static_cast<std::ptrdiff_t>(at);
    const bool same = at + page_size <= before.size() &&
                      std::equal(page, page + page_size, before.begin() + static_cast<std::ptrdiff_t>(at));
    if (!same)
      set.pages[Pgno{static_cast<std::uint32_t>(at / page_size + 1)}] = Buffer(page, page + page_size);
  }
  return set;
}

class RollbackWriterTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  static constexpr std::uint32_t kPageSize = 1024;

  void make(std::uint32_t page_size = kPageSize) {
    page_size_ = page_size;
    primary_ = std::make_unique<Sqlite>(dir_.file("primary.db"));
    primary_->run("PRAGMA page_size=" + std::to_string(page_size) +
                  "; PRAGMA synchronous=OFF; CREATE TABLE acc(id INTEGER PRIMARY KEY, bal INT, pad TEXT);"
                  "WITH RECURSIVE n(i) AS(SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100)"
                  " INSERT INTO acc SELECT i, 100, hex(randomblob(50)) FROM n;"
                  "CREATE TABLE log(id INTEGER PRIMARY KEY, x TEXT);"
                  "CREATE TABLE counter(n INT); INSERT INTO counter VALUES(0);");
    state_ = read_all(dir_.file("primary.db"));
    write_all(replica(), state_);
  }
  std::string replica() const { return dir_.file("replica.db"); }
  ChangeSet transfer() {
    return commit(
        "BEGIN; UPDATE acc SET bal=bal-1 WHERE id=1+abs(random()%100);"
        "UPDATE acc SET bal=bal+(10000-(SELECT sum(bal) FROM acc)) WHERE id=7;"
        "INSERT INTO log(x) VALUES(hex(randomblob(300))); UPDATE counter SET n=n+1; COMMIT;");
  }
  ChangeSet commit(const std::string& sql) {
    primary_->run(sql);
    Buffer next = read_all(dir_.file("primary.db"));
    ChangeSet set = difference(state_, next, page_size_);
    state_ = std::move(next);
    return set;
  }
  std::unique_ptr<RollbackWriter> open(RollbackWriterOptions options = {}) {
    auto writer = RollbackWriter::open(replica(), options, clock_);
    EXPECT_TRUE(writer);
    return std::move(*writer);
  }
  Result<void> write(RollbackWriter& writer, const ChangeSet& set) {
    ChangeSetPages pages(set);
    return writer.write(pages, set.commit, page_size_);
  }
  void expect_identical() { EXPECT_TRUE(read_all(replica()) == read_all(dir_.file("primary.db"))); }
  /// Runs SQL in a process of its own, then waits.
  auto application(const std::string& sql) {
    auto child = std::make_unique<ChildProcess>([this, sql](ChildProcess& self) {
      Sqlite db(replica());
      if (sqlite3_exec(db.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return false;
      self.say_ready();
      self.wait_for_stop();
      return true;
    });
    child->wait_ready();
    return child;
  }
  int code_in_application(const std::string& sql) {
    int code = -1;
    const pid_t pid = fork();
    if (pid == 0) {
      Sqlite db(replica());
      _exit(db.try_run(sql));
    }
    int status = 0;
    waitpid(pid, &status, 0);
    if (WIFEXITED(status)) code = WEXITSTATUS(status);
    return code;
  }

  TemporaryDirectory dir_;
  SystemClock clock_;
  std::unique_ptr<Sqlite> primary_;
  Buffer state_;
  std::uint32_t page_size_ = 0;
};

INSTANTIATE_TEST_SUITE_P(RollbackWriter, RollbackWriterTest, testing::ValuesIn(test::kAllPageSizes));

TEST_P(RollbackWriterTest, ReadersSeeWholeTransactionsInOrder) {
  make(GetParam());
  const std::string path = replica();
  const auto body = [&path](ChildProcess& self) {
    Reader reader(path);
    self.say_ready();
    while (!self.should_stop()) {
      const std::string wrong = reader.look();
      if (wrong.empty()) continue;
      fprintf(stderr, "reader: %s\n", wrong.c_str());
      return false;
    }
    return reader.last_n() > 0;
  };
  ChildProcess one(body);
  ChildProcess two(body);
  one.wait_ready();
  two.wait_ready();
  auto writer = open();
  for (int i = 0; i < 40; ++i) {
    const auto written = write(*writer, transfer());
    ASSERT_TRUE(written) << written.error().message;
  }
  std::this_thread::sleep_for(20ms);
  EXPECT_TRUE(one.stop());
  EXPECT_TRUE(two.stop());
  writer.reset();
  expect_identical();
}

TEST_F(RollbackWriterTest, DatabaseGrowsShrinksAndChangesItsPageSize) {
  make();
  auto writer = open();
  ASSERT_TRUE(write(*writer, commit("INSERT INTO log(x) VALUES(hex(randomblob(500000)))")));
  ASSERT_TRUE(write(*writer, commit("DELETE FROM log; VACUUM")));
  expect_identical();
  primary_->run("PRAGMA page_size=8192; VACUUM");
  page_size_ = 8192;
  state_.clear();
  ASSERT_TRUE(write(*writer, commit("INSERT INTO log(x) VALUES(1)")));
  expect_identical();
  ASSERT_TRUE(write(*writer, {{}, Pgno{0}}));
  EXPECT_EQ(std::filesystem::file_size(replica()), 0U);
  ASSERT_TRUE(writer->sync());
}

TEST_F(RollbackWriterTest, ReaderThatStaysIsNamedAndDoesNotKeepOthersOut) {
  make();
  auto reader = application("BEGIN; SELECT * FROM acc");
  auto writer = open({.lock_wait = 60ms, .pending_wait = 5ms});
  const ChangeSet set = transfer();
  const auto written = write(*writer, set);
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kBusy);
  EXPECT_NE(written.error().message.find(std::to_string(reader->pid())), std::string::npos);
  ASSERT_TRUE(writer->blocked_by());
  EXPECT_EQ(writer->blocked_by()->pid, reader->pid());
  EXPECT_FALSE(writer->is_half_written());
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_OK);  // PENDING was given up
  EXPECT_TRUE(reader->stop());
  EXPECT_TRUE(write(*writer, set));
  expect_identical();
}

TEST_F(RollbackWriterTest, WriterOfAnApplicationIsWaitedFor) {
  make();
  auto application_writes = application("BEGIN IMMEDIATE");
  auto writer = open({.lock_wait = 30ms});
  const ChangeSet set = transfer();
  EXPECT_EQ(write(*writer, set).error().code, ErrorCode::kBusy);
  EXPECT_EQ(writer->blocked_by()->pid, application_writes->pid());
  EXPECT_TRUE(application_writes->stop());
  EXPECT_TRUE(write(*writer, set));
}

TEST_F(RollbackWriterTest, HeldReservedMakesWritersWaitAndReadersRead) {
  make();
  auto writer = open();
  ASSERT_TRUE(writer->hold_reserved(true));
  EXPECT_EQ(code_in_application("BEGIN IMMEDIATE"), SQLITE_BUSY);
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_OK);
  ASSERT_TRUE(write(*writer, transfer()));
  EXPECT_EQ(code_in_application("BEGIN IMMEDIATE"), SQLITE_BUSY);
  ASSERT_TRUE(writer->hold_reserved(false));
  EXPECT_EQ(code_in_application("BEGIN IMMEDIATE"), SQLITE_OK);
}

TEST_F(RollbackWriterTest, HalfWrittenDatabaseStaysLockedUntilItIsWhole) {
  make();
  auto writer = open();
  const ChangeSet set = transfer();
  // Pages that follow each other are written at once: it fails behind the first that stands alone.
  int written = 1;
  auto page = set.pages.begin();
  while (std::next(page) != set.pages.end() && std::next(page)->first == page->first.next()) {
    ++page;
    ++written;
  }
  ASSERT_NE(std::next(page), set.pages.end());
  ChangeSetPages failing(set, written + 1);
  EXPECT_EQ(writer->write(failing, set.commit, kPageSize).error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(writer->is_half_written());
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_BUSY);
  ASSERT_TRUE(write(*writer, set));
  EXPECT_FALSE(writer->is_half_written());
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_OK);
  expect_identical();
}

TEST_F(RollbackWriterTest, FailureBeforeTheFirstPageLeavesNothing) {
  make();
  auto writer = open();
  const ChangeSet set = transfer();
  ChangeSetPages failing(set, 0);
  EXPECT_FALSE(writer->write(failing, set.commit, kPageSize));
  EXPECT_FALSE(writer->is_half_written());
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_OK);
}

TEST_F(RollbackWriterTest, RefusesAWalWithContentAndAHotJournal) {
  make();
  auto writer = open();
  const ChangeSet set = transfer();
  write_all(replica() + "-wal", Buffer(32));
  EXPECT_EQ(write(*writer, set).error().code, ErrorCode::kInvalid);
  write_all(replica() + "-wal", {});              // as a truncating checkpoint leaves it
  write_all(replica() + "-journal", Buffer(28));  // as a persistent journal ends
  EXPECT_TRUE(write(*writer, set));
  Buffer hot(28);
  store_be<std::uint64_t>(hot.data(), 0xd9d505f920a163d7);
  write_all(replica() + "-journal", hot);
  const auto written = write(*writer, transfer());
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().code, ErrorCode::kInvalid);
  std::filesystem::remove(replica() + "-journal");
  EXPECT_EQ(code_in_application("BEGIN EXCLUSIVE; SELECT * FROM acc"), SQLITE_OK);
}

TEST_F(RollbackWriterTest, WalDatabaseThatNobodyHasOpenIsWritten) {
  make();
  primary_->run("PRAGMA journal_mode=WAL");
  auto writer = open();
  ASSERT_TRUE(write(*writer, commit("PRAGMA wal_checkpoint(TRUNCATE)")));
  EXPECT_EQ(code_in_application("SELECT * FROM acc"), SQLITE_OK);
  auto reader = application("SELECT * FROM acc");  // open in WAL mode: holds SHARED
  RollbackWriterOptions impatient{.lock_wait = 20ms};
  auto second = open(impatient);
  primary_->run("INSERT INTO log(x) VALUES(1)");
  const ChangeSet set = commit("PRAGMA wal_checkpoint(TRUNCATE)");
  EXPECT_EQ(write(*second, set).error().code, ErrorCode::kBusy);
  EXPECT_TRUE(reader->stop());
  EXPECT_TRUE(write(*second, set));
}

TEST_F(RollbackWriterTest, RefusesMalformedChangeSetsAndReplacedFiles) {
  make();
  auto writer = open();
  ChangeSet set{{{Pgno{9}, Buffer(kPageSize)}}, Pgno{3}};
  EXPECT_EQ(write(*writer, set).error().code, ErrorCode::kCorrupt);
  ChangeSetPages pages(set);
  EXPECT_EQ(writer->write(pages, set.commit, 1000).error().code, ErrorCode::kInvalid);
  EXPECT_FALSE(writer->is_half_written());
  std::filesystem::remove(replica());
  EXPECT_EQ(write(*writer, transfer()).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(RollbackWriter::open(replica(), {}, clock_));
}

}  // namespace
}  // namespace rillfs::apply
