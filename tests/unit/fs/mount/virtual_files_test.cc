// Goal: `.primary`, `.lag` and `X-pos` are there exactly when the guarantees say so, with what is true now.
// Method: databases of a captured primary, and of a node that is told it is a replica.
#include "fs/mount/virtual_files.h"

#include "unit/fs/captured_sqlite.h"

namespace rillfs::mount {
namespace {

class VirtualFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(primary_.start());
    vfs_ = std::make_unique<test::CapturingVfs>(primary_);
  }
  std::optional<std::uint64_t> find(const std::string& name) {
    return files_.find(kRootInode, /*in_root=*/true, name);
  }
  std::optional<std::string> content(const std::string& name) {
    auto id = find(name);
    return id ? files_.content(*id) : std::nullopt;
  }

  test::TemporaryDirectory data_;
  PosixFileSystem posix_;
  test::Primary primary_{posix_, data_.file("data")};
  std::unique_ptr<test::CapturingVfs> vfs_;
  VirtualFiles files_{primary_.databases()};
};

TEST_F(VirtualFilesTest, NamesThatCouldBeVirtual) {
  for (const char* name : {".primary", ".lag", "app.db-pos"}) EXPECT_TRUE(VirtualFiles::could_be(true, name));
  for (const char* name : {"", "-pos", "pos", "app.db", ".primary2", "app.db-pos2", "lag"})
    EXPECT_FALSE(VirtualFiles::could_be(true, name)) << name;
  EXPECT_FALSE(VirtualFiles::could_be(false, ".primary"));
  EXPECT_FALSE(VirtualFiles::could_be(false, ".lag"));
  EXPECT_TRUE(VirtualFiles::could_be(false, "app.db-pos"));
}

TEST_F(VirtualFilesTest, APrimaryHasNoPrimaryFileAndNoLag) {
  EXPECT_FALSE(find(".primary"));
  EXPECT_EQ(content(".lag"), "0\n");
  EXPECT_FALSE(files_.find(kRootInode, /*in_root=*/false, ".lag"));
}

TEST_F(VirtualFilesTest, ThePositionIsThereFromTheFirstCommitOnAndMoves) {
  test::Sqlite db(vfs_->uri("app.db"));
  EXPECT_EQ(db.number("SELECT 1"), 1);
  EXPECT_FALSE(find("app.db-pos"));
  db.run("CREATE TABLE t(n)");
  EXPECT_EQ(content("app.db-pos"), to_text(primary_.database("app.db")->published()) + "\n");
  const auto before = content("app.db-pos");
  const auto id = find("app.db-pos");
  db.run("INSERT INTO t VALUES(1)");
  EXPECT_NE(content("app.db-pos"), before);
  EXPECT_EQ(find("app.db-pos"), id) << "the same file";
  EXPECT_TRUE(VirtualFiles::is_virtual(*id));
  EXPECT_FALSE(files_.find(kRootInode + 1, false, "app.db-pos")) << "another directory";
}

TEST_F(VirtualFilesTest, APositionGoesWithItsDatabase) {
  test::Sqlite(vfs_->uri("app.db")).run("CREATE TABLE t(n)");
  const auto id = find("app.db-pos");
  ASSERT_TRUE(id);
  primary_.databases().drop(kRootInode, "app.db");
  EXPECT_FALSE(find("app.db-pos"));
  EXPECT_FALSE(files_.content(*id));
  EXPECT_EQ(files_.status(*id).st_size, 0);
}

TEST_F(VirtualFilesTest, EachIsARegularFileThatNobodyMayWriteAsLongAsItsContent) {
  test::Sqlite(vfs_->uri("app.db")).run("CREATE TABLE t(n)");
  for (const char* name : {".lag", "app.db-pos"}) {
    const struct stat status = files_.status(*find(name));
    EXPECT_EQ(status.st_mode, static_cast<mode_t>(S_IFREG | 0444)) << name;
    EXPECT_EQ(static_cast<std::size_t>(status.st_size), content(name)->size()) << name;
    EXPECT_EQ(status.st_ino, *find(name));
    EXPECT_EQ(status.st_nlink, 1U);
  }
}

TEST_F(VirtualFilesTest, AReplicaNamesItsPrimaryItsLagAndWhatReadersSee) {
  test::Sqlite(vfs_->uri("app.db")).run("CREATE TABLE t(n)");
  vfs_.reset();
  std::string address = "db1:20202";
  Environment& environment = primary_.environment();
  environment.primary = false;
  NodeView node;
  node.primary_address = [&] { return address; };
  node.lag_ms = [] { return std::int64_t{1234}; };
  Databases databases(environment, node);
  ASSERT_TRUE(databases.recover());
  VirtualFiles files(databases);
  const auto primary = files.find(kRootInode, true, ".primary");
  ASSERT_TRUE(primary);
  EXPECT_EQ(files.content(*primary), "db1:20202\n");
  address = "db2:20202";
  EXPECT_EQ(files.content(*primary), "db2:20202\n");
  EXPECT_EQ(files.content(*files.find(kRootInode, true, ".lag")), "1234\n");
  auto database = databases.find(kRootInode, "app.db");
  ASSERT_TRUE(database);
  EXPECT_EQ(files.content(*files.find(kRootInode, true, "app.db-pos")),
            to_text(database->applied_position()) + "\n");
}

}  // namespace
}  // namespace rillfs::mount
