// Goal: what is parked can be listed, taken out in the form it has, and removed only where that is asked for.
// Method: directories as the daemon leaves them.
#include "cmd/parked.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cmd/report.h"
#include "fs/database_info.h"
#include "unit/cmd/temporary_directory.h"

namespace rillfs::cmd {
namespace {

namespace fs = std::filesystem;

class ParkedCommand : public testing::Test {
 protected:
  std::string make(const std::string& name, const std::string& database) {
    const std::string path = data() + "/parked/" + name;
    fs::create_directories(path);
    stream::DatabaseInfo info;
    info.path = "shop/app.db";
    EXPECT_TRUE(save_database_info(files_, path, info));
    if (!database.empty()) std::ofstream(path + "/database") << database;
    return path;
  }
  std::string data() const { return directory_.path() + "/data"; }
  std::string target() const { return directory_.path() + "/out"; }
  static std::string text_of(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  TemporaryDirectory directory_;
  PosixFileSystem files_;
  const std::string branch_ = "00000000000000aa-3-0000000000000007";
};

TEST_F(ParkedCommand, NothingIsParkedWhereThereIsNoDirectory) {
  auto all = list_parked(files_, data());
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->empty());
}

TEST_F(ParkedCommand, ListsWhatIsThereAndWhatItIs) {
  make(branch_, "content");
  make("00000000000000aa-damaged-2", "x");
  make("00000000000000ab-without-file", "");
  make(branch_ + ".tmp", "half");
  auto all = list_parked(files_, data());
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 3U);
  EXPECT_EQ((*all)[0].kind, ParkedKind::kBranch);
  EXPECT_EQ((*all)[0].database, "shop/app.db");
  EXPECT_TRUE((*all)[0].has_database);
  EXPECT_EQ((*all)[1].kind, ParkedKind::kDamaged);
  EXPECT_EQ((*all)[2].kind, ParkedKind::kWithoutFile);
  EXPECT_FALSE((*all)[2].has_database);
}

TEST_F(ParkedCommand, ExportsTheDatabaseAndReplacesNothing) {
  const std::string path = make(branch_, "content");
  ASSERT_TRUE(export_parked(files_, data(), branch_, target()));
  EXPECT_EQ(text_of(target()), "content");
  auto again = export_parked(files_, data(), branch_, target());
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find("exists"), std::string::npos);
  std::ofstream(path + "/database-wal") << "frames";
  ASSERT_TRUE(export_parked(files_, data(), branch_, target() + "2"));
  EXPECT_EQ(text_of(target() + "2-wal"), "frames");
}

TEST_F(ParkedCommand, HasNoWayOutOfItsDirectory) {
  make(branch_, "content");
  fs::create_directories(data() + "/dbs/x");
  for (const std::string& name :
       std::vector<std::string>{"..", "../dbs", ".", "", branch_ + "/", branch_ + "/..", "nobody"}) {
    EXPECT_FALSE(export_parked(files_, data(), name, target())) << name;
    EXPECT_FALSE(drop_parked(files_, data(), name)) << name;
  }
  EXPECT_TRUE(fs::exists(data() + "/dbs/x"));
  EXPECT_FALSE(fs::exists(target()));
}

TEST_F(ParkedCommand, DropsOnlyWithYes) {
  make(branch_, "content");
  EXPECT_EQ(run_parked_drop(data(), branch_, false), kExitUsage);
  EXPECT_EQ(list_parked(files_, data())->size(), 1U);
  EXPECT_EQ(run_parked_drop(data(), branch_, true), kExitOk);
  EXPECT_TRUE(fs::is_empty(data() + "/parked"));
}

}  // namespace
}  // namespace rillfs::cmd
