// Goal: what a node's databases do when names, files and logs change under them. Method: a primary without a
// mount (captured_sqlite.h).
#include "fs/databases.h"

#include <atomic>
#include <future>
#include <thread>

#include "fs/replay.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class DatabasesTest : public ::testing::Test {
 protected:
  PosixFileSystem files_;
  FaultyFileSystem faulty_{files_};
  TemporaryDirectory data_;
  std::string path(const std::string& name) const { return data_.file("data/tree/" + name); }
};

TEST_F(DatabasesTest, DropWhileASyncIsUnderWay) {
  Primary primary(faulty_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  CapturingVfs vfs(primary);
  Sqlite db(vfs.uri("app.db"));
  db.run("PRAGMA journal_mode=WAL");
  db.run("PRAGMA synchronous=OFF");
  db.run("CREATE TABLE t(n)");
  db.run("INSERT INTO t VALUES(1)");
  auto database = primary.database("app.db");
  faulty_.sync_delay_us = 50000;
  std::thread syncing([&] { EXPECT_TRUE(database->sync_wal()); });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  primary.databases().drop(kRootInode, "app.db");
  syncing.join();
  EXPECT_FALSE(database->replicated());
  EXPECT_TRUE(primary.databases().list().empty());
}

TEST_F(DatabasesTest, ProgressOnAMountThreadIsReportedByOneWithTheNetworksDescriptors) {
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  CapturingVfs vfs(primary);
  Sqlite db(vfs.uri("app.db"));
  db.run("CREATE TABLE t(n)");
  auto database = primary.database("app.db");
  std::promise<int> table;
  primary.databases().listen([&](const stream::Sink::Progress&) { table.set_value(descriptor_table()); });
  std::thread mount_thread([&] {
    enter_descriptor_table(1);
    primary.databases().progressed(*database);
  });
  EXPECT_EQ(table.get_future().get(), 0);
  mount_thread.join();
  primary.databases().listen(std::function<void(const stream::Sink::Progress&)>());
}

TEST_F(DatabasesTest, ProgressIsReportedWhileAChangeIsToldOfTheSameDatabase) {
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  CapturingVfs vfs(primary);
  Sqlite db(vfs.uri("app.db"));
  db.run("CREATE TABLE t(n)");
  auto database = primary.database("app.db");
  // Each takes the database's lock and the listeners': in one order, or they wait for each other for ever.
  primary.databases().listen([](const stream::Sink::Progress&) {});
  std::atomic<bool> over{false};
  std::thread progress([&] {
    while (!over) primary.databases().progressed(*database);
  });
  for (std::uint32_t i = 0; i < 500; ++i) EXPECT_TRUE(database->set_attributes(0600 + (i & 1), 0, 0));
  over = true;
  progress.join();
  primary.databases().listen(std::function<void(const stream::Sink::Progress&)>());
}

TEST_F(DatabasesTest, HotJournalThatCameWithAFileIsRolledBackBeforeAnythingIsTakenOver) {
  TemporaryDirectory elsewhere;
  const std::string origin = elsewhere.file("app.db");
  std::filesystem::create_directories(data_.file("data/tree"));
  {
    Sqlite db(origin);
    db.run("PRAGMA cache_size=2");
    db.run("CREATE TABLE t(n, b)");
    db.run(
        "INSERT INTO t SELECT value, randomblob(3000) FROM (SELECT 1 AS value UNION SELECT 2 UNION SELECT "
        "3)");
    db.run("BEGIN");
    db.run("UPDATE t SET n = n + 100, b = randomblob(3000)");
    db.run("INSERT INTO t SELECT n, randomblob(9000) FROM t");
    for (const char* suffix : {"", "-journal"})
      std::filesystem::copy_file(origin + suffix, path(std::string("app.db") + suffix));
  }
  for (int start = 0; start < 2; ++start) {
    Primary primary(files_, data_.file("data"));
    ASSERT_TRUE(primary.start());
    auto database = primary.database("app.db");
    ASSERT_TRUE(database);
    EXPECT_FALSE(*database->reconcile());
    EXPECT_FALSE(database->replicated());
    EXPECT_TRUE(std::filesystem::exists(path("app.db-journal")));
  }
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  {
    CapturingVfs vfs(primary);
    Sqlite db(vfs.uri("app.db"));
    EXPECT_EQ(db.number("SELECT max(n) FROM t"), 3);
  }
  auto database = primary.database("app.db");
  EXPECT_TRUE(*database->reconcile());
  EXPECT_TRUE(database->replicated());
  EXPECT_EQ(Sqlite(path("app.db")).text("PRAGMA integrity_check"), "ok");
}

}  // namespace
}  // namespace rillfs::test
