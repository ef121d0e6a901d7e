// Goal: no commit is missed when SQLite writes a WAL's header again. Method: a WAL file that SQLite made is
// fed to a Database as the writes of two processes; the first one rolls back, the second one's header has the
// same salts and another checkpoint sequence.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <iterator>

#include "fs/sqlite/wal.h"
#include "unit/fs/captured_sqlite.h"

namespace rillfs {
namespace {

Buffer content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Buffer(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

}  // namespace

TEST(WalGeneration, HeaderWrittenAgainWithTheSameSaltsBeginsTheChainAnew) {
  test::TemporaryDirectory directory;
  const std::string source = directory.file("source.db");
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(source.c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1)", nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  const Buffer wal = content_of(source + "-wal");
  sqlite3_close(db);
  ASSERT_GT(wal.size(), sqlite::kWalHeaderSize);

  PosixFileSystem files;
  test::Primary primary(files, directory.file("data"));
  ASSERT_TRUE(primary.start());
  ASSERT_TRUE(files.open(primary.tree() + "/a.db", OpenMode::kCreate, "test"));
  std::shared_ptr<File> wal_file = *files.open(primary.tree() + "/a.db-wal", OpenMode::kCreate, "test");
  auto database = primary.adopt("a.db");
  ASSERT_TRUE(database);

  auto other = *sqlite::parse_wal_header(wal);
  other.checkpoint_sequence += 7;
  const auto first = sqlite::encode_wal_header(other);
  ASSERT_TRUE(database->write_wal(wal_file, first, 0, Caller::kApplication));
  const Bytes all(wal);
  ASSERT_TRUE(database->write_wal(wal_file, all.first(sqlite::kWalHeaderSize), 0, Caller::kApplication));
  ASSERT_TRUE(database->write_wal(wal_file, all.subspan(sqlite::kWalHeaderSize), sqlite::kWalHeaderSize,
                                  Caller::kApplication));
  EXPECT_GE(database->published().txid.value, 1U);
}

}  // namespace rillfs
