// Goal: what a node's databases do when names, files and logs change under them. Method: a primary without a
// mount (captured_sqlite.h).
#include "fs/databases.h"

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

}  // namespace
}  // namespace rillfs::test
