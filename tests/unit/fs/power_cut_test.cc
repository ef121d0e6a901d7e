// Goal: what a power cut must not separate is on disk in the right order. Method: the call that makes the
// first part durable fails; then the second must not happen. tests/powercut cuts the power of whole nodes.
#include <gtest/gtest.h>

#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class PowerCut : public testing::Test {
 protected:
  void SetUp() override {
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    ASSERT_TRUE(primary_->start());
  }
  std::string path() const { return data_.file("data/tree/app.db"); }

  PosixFileSystem below_;
  FaultyFileSystem files_{below_};
  TemporaryDirectory data_;
  std::unique_ptr<Primary> primary_;
};

// A replica that had the database would drop it, with everything in it, once the primary has forgotten it.
TEST_F(PowerCut, ADatabaseIsNotPublishedBeforeItsFirstChangeSetIsDurable) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("PRAGMA synchronous=OFF");
  files_.fail_nth(0, EIO, "log: sync");
  EXPECT_NE(db.try_run("CREATE TABLE t(x)"), SQLITE_OK);
  EXPECT_TRUE(files_.fired());
  EXPECT_EQ(primary_->database("app.db")->published().txid.value, 0U);
}

// A start that does not find the mark takes the file for what the log says: primary and replica would differ
// at the same position.
TEST_F(PowerCut, WritesWithoutATransactionAreMarkedForCertainBeforeTheyAreMade) {
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("CREATE TABLE t(x)");
  const Buffer before = read_all(path());
  const Buffer page(4096, 7);
  for (int step = 0; step < 2; ++step) {  // the mark's file, its directory
    SCOPED_TRACE(step);
    files_.fail_nth(step, EIO, "note unlogged write");
    auto written = primary_->database("app.db")->write(page, 4096, Caller::kApplication);
    EXPECT_TRUE(files_.fired());
    EXPECT_FALSE(written);
    EXPECT_EQ(read_all(path()), before);
  }
  files_.stop_failing();
  EXPECT_TRUE(primary_->database("app.db")->write(page, 4096, Caller::kApplication));
  EXPECT_NE(read_all(path()), before);
}

}  // namespace
}  // namespace rillfs::test
