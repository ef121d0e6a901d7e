// Goal: a page that is not what was committed is never read by an application and never passes a check, and
// nothing else is taken for such a page, whatever SQLite is in the middle of. Method: captured SQLite
// (captured_sqlite.h), whose reads are the ones that the mount would check; bytes of the backing file flipped
// behind its back.
#include <thread>

#include "fs/integrity_check.h"
#include "fs/scrubber.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs::test {
namespace {

constexpr std::uint64_t kPage = 4096;

class DatabaseCheck : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<CapturingVfs>(primary_);
    db_ = std::make_unique<Sqlite>(vfs_->uri("app.db"));
    db_->run("PRAGMA journal_mode=" + GetParam());
    db_->run("CREATE TABLE t(n INTEGER PRIMARY KEY, b)");
    for (int i = 1; i <= 20; ++i)
      db_->run("INSERT INTO t VALUES(" + std::to_string(i) + ", randomblob(9000))");
    checkpoint();
  }
  void checkpoint() {
    if (GetParam() == "WAL") db_->run("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  std::shared_ptr<Database> database() { return primary_.database("app.db"); }
  std::string file() const { return primary_.tree() + "/app.db"; }
  void flip(std::uint64_t offset) {
    Buffer bytes = read_all(file());
    bytes[offset] ^= 0x10;
    write_all(file(), bytes);
  }
  CheckReport check() {
    return check_database(*database(), clock_,
                          [](std::uint64_t, std::uint64_t, std::uint64_t) { return true; });
  }

  TemporaryDirectory data_;
  PosixFileSystem files_;
  SystemClock clock_;
  Primary primary_{files_, data_.file("data")};
  std::unique_ptr<CapturingVfs> vfs_;
  std::unique_ptr<Sqlite> db_;
};

TEST_P(DatabaseCheck, AWholeDatabasePassesWhateverIsUnderWay) {
  EXPECT_EQ(check().problem, "");
  db_->run("BEGIN IMMEDIATE");
  db_->run("UPDATE t SET b=randomblob(9000)");
  EXPECT_EQ(check().problem, "");
  EXPECT_EQ(db_->number("SELECT count(*) FROM t WHERE length(b)=9000"), 20);
  db_->run("ROLLBACK");
  EXPECT_EQ(check().problem, "");
  db_->run("UPDATE t SET b=randomblob(5000) WHERE n%3=0");
  EXPECT_EQ(check().problem, "");  // in WAL mode partly in the WAL
  db_->run("DELETE FROM t WHERE n>5");
  db_->run("VACUUM");
  checkpoint();
  const CheckReport report = check();
  EXPECT_EQ(report.problem, "");
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.pages, database()->page_count().value);
  EXPECT_EQ(report.unknown, 0U);
  EXPECT_EQ(database()->health().last_check.pages, report.pages);
}

TEST_P(DatabaseCheck, EveryPageThatIsFlippedIsFoundAndOnlyThat) {
  for (std::uint32_t page = 1; page <= database()->page_count().value; page += 7) {
    const std::uint64_t offset = (page - 1) * kPage + (page * 131) % kPage;
    flip(offset);
    const CheckReport report = check();
    EXPECT_EQ(report.damaged_pages, std::vector<Pgno>{Pgno{page}});
    EXPECT_NE(report.problem.find("page " + std::to_string(page) + " (bytes "), std::string::npos);
    EXPECT_EQ(database()->health().damaged_pages, 1U);
    flip(offset);
    EXPECT_EQ(check().problem, "");
    EXPECT_EQ(database()->health().damaged_pages, 0U);
  }
}

TEST_P(DatabaseCheck, ADamagedPageGivesAnErrorToItsReadersAndNothingIsWritten) {
  const std::uint64_t offset = 9 * kPage + 77;
  flip(offset);
  const Buffer before = read_all(file());
  Buffer page(kPage);
  auto read = database()->read(page, 9 * kPage);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().errno_value, EIO);
  // Together with others, and not aligned.
  Buffer more(8 * kPage);
  EXPECT_FALSE(database()->read(more, 5 * kPage + 512));
  EXPECT_TRUE(database()->read(more, 10 * kPage));
  Sqlite reader(vfs_->uri("app.db"));
  EXPECT_EQ(reader.try_run("SELECT max(hex(b)) FROM t"), SQLITE_IOERR);
  const auto health = database()->health();
  EXPECT_EQ(health.damaged_pages, 1U);
  EXPECT_FALSE(health.out_of_service);  // only on a replica
  EXPECT_NE(health.problem.find("page 10"), std::string::npos) << health.problem;
  EXPECT_EQ(read_all(file()), before);
  flip(offset);
  EXPECT_TRUE(database()->read(page, 9 * kPage));
}

TEST_P(DatabaseCheck, AFileThatWasCutIsFound) {
  std::filesystem::resize_file(file(), 12 * kPage);
  const CheckReport report = check();
  EXPECT_EQ(report.damaged, database()->page_count().value - 12);
}

TEST_P(DatabaseCheck, PassesWhileAnotherThreadCommits) {
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    Sqlite db(vfs_->uri("app.db"));
    db.run("PRAGMA busy_timeout=5000");
    for (int i = 0; !stop; ++i) {
      db.run("UPDATE t SET b=randomblob(7000) WHERE n%20=" + std::to_string(i % 20));
      if (i % 7 == 0)
        db.run(i % 2 == 0 ? "DELETE FROM t WHERE n>100" : "INSERT INTO t(b) VALUES(zeroblob(70000))");
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(check().problem, "");
  stop = true;
  writer.join();
}

TEST_P(DatabaseCheck, IsGivenUpWhenItIsToStop) {
  const CheckReport report =
      check_database(*database(), clock_, [](std::uint64_t, std::uint64_t, std::uint64_t) { return false; });
  EXPECT_FALSE(report.complete);
  EXPECT_EQ(database()->health().last_check.at_ms, 0);
}

TEST_P(DatabaseCheck, TheScrubberFindsDamageByItself) {
  flip(3 * kPage);
  Scrubber scrubber(primary_.databases(), clock_, {std::chrono::milliseconds(24), 1 << 30});
  scrubber.start();
  for (int i = 0; i < 5000 && database()->health().last_check.at_ms == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  scrubber.stop();
  EXPECT_EQ(database()->health().last_check.damaged, 1U);
}

INSTANTIATE_TEST_SUITE_P(Mode, DatabaseCheck, testing::Values("WAL", "DELETE", "PERSIST"),
                         [](const auto& info) { return info.param; });

TEST(Throttle, LetsBytesGoByAtItsRate) {
  struct Stopped final : Clock {
    Monotonic now{};
    Monotonic monotonic() const override { return now; }
    std::int64_t wall_ms() const override { return 0; }
  } clock;
  Throttle throttle(clock, 1000);
  EXPECT_EQ(throttle.after(500), std::chrono::milliseconds(500));
  EXPECT_EQ(throttle.after(500), std::chrono::seconds(1));
  clock.now += std::chrono::seconds(60);
  EXPECT_EQ(throttle.after(0), Duration::zero());
  EXPECT_EQ(throttle.after(1000), std::chrono::seconds(1));  // the minute is not caught up
}

}  // namespace
}  // namespace rillfs::test
