// Goal: what goes in or out is the same database, or nothing happened. Method: a plain directory stands in
// for the mount; SQLite itself compares.
#include "cmd/transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cmd/progress_bar.h"
#include "cmd/sqlite_connection.h"
#include "temporary_directory.h"

namespace rillfs::cmd {
namespace {

using testing::HasSubstr;

constexpr int kMake = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;

SqliteConnection open_database(const std::string& path) {
  return SqliteConnection::open(path, kMake).value();
}

void make_database(const std::string& path, int page_size = 4096, const std::string& mode = "delete",
                   int rows = 2000) {
  auto db = open_database(path);
  db.run("PRAGMA page_size=" + std::to_string(page_size) + "; PRAGMA auto_vacuum=INCREMENTAL").value();
  db.value_of("PRAGMA journal_mode=" + mode).value();
  db.run(
        "CREATE TABLE t(a INTEGER PRIMARY KEY, b); PRAGMA user_version=77; PRAGMA application_id=5;"
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<" +
        std::to_string(rows) + ") INSERT INTO t SELECT i, hex(randomblob(20)) FROM n")
      .value();
}

std::string query(const std::string& path, const std::string& sql) {
  return open_database(path).value_of(sql).value();
}

/// Everything that must be the same on both sides.
std::string fingerprint(const std::string& path) {
  std::string out = query(path, "SELECT count(*) || group_concat(b) FROM t");
  for (const char* name :
       {"page_size", "auto_vacuum", "journal_mode", "user_version", "application_id", "integrity_check"})
    out += std::string(" ") + query(path, std::string("PRAGMA ") + name);
  return out;
}

class Transfer : public testing::Test {
 protected:
  Transfer() { std::filesystem::create_directory(mount); }
  std::string import_error(const std::string& name = "app.db") {
    auto done = import_database(file, mount, name, {});
    return done ? "imported" : done.error().message;
  }
  std::string export_error(bool force = false) {
    auto done = export_database(mount, "app.db", file, force, {});
    return done ? "exported" : done.error().message;
  }
  std::size_t files_in(const std::string& path) {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path), {}));
  }
  TemporaryDirectory directory;
  std::string mount = directory / "mount";
  std::string file = directory / "file.db";
  std::string target = mount + "/app.db";
};

class TransferOf : public Transfer, public testing::WithParamInterface<std::tuple<int, const char*>> {};

TEST_P(TransferOf, KeepsEverythingInBothDirections) {
  auto [page_size, mode] = GetParam();
  make_database(file, page_size, mode);
  std::string before = fingerprint(file);
  ASSERT_EQ(import_error(), "imported");
  EXPECT_EQ(fingerprint(target), before);
  std::filesystem::remove(file);
  ASSERT_EQ(export_error(), "exported");
  EXPECT_EQ(fingerprint(file), before);
}

INSTANTIATE_TEST_SUITE_P(PageSizesAndModes, TransferOf,
                         testing::Combine(testing::Values(512, 1024, 2048, 4096, 8192, 16384, 32768, 65536),
                                          testing::Values("delete", "wal")));

TEST_F(Transfer, ImportReplacesAWalDatabaseOfAnotherPageSize) {
  make_database(file, 8192, "delete");
  make_database(target, 4096, "wal", 10);
  std::string before = fingerprint(file);
  ASSERT_EQ(import_error(), "imported");
  EXPECT_EQ(fingerprint(target), before);
}

TEST_F(Transfer, ImportIsOneTransactionThatAReaderKeepsItsSnapshotOf) {
  make_database(file, 4096, "wal", 50);
  make_database(target, 4096, "wal", 10);
  auto reader = open_database(target);
  reader.run("BEGIN").value();
  ASSERT_EQ(reader.value_of("SELECT count(*) FROM t").value(), "10");
  ASSERT_EQ(import_error(), "imported");
  EXPECT_EQ(reader.value_of("SELECT count(*) FROM t").value(), "10");
  reader.run("COMMIT").value();
  EXPECT_EQ(reader.value_of("SELECT count(*) FROM t").value(), "50");
}

TEST_F(Transfer, ImportReportsItsProgress) {
  make_database(file, 512, "delete", 20'000);
  std::vector<std::uint64_t> done;
  std::uint64_t total = 0;
  ASSERT_TRUE(import_database(file, mount, "app.db",
                              [&](std::uint64_t d, std::uint64_t t) { done.push_back(d), total = t; }));
  EXPECT_GT(done.size(), 2u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);
}

TEST_F(Transfer, ImportMakesTheDirectories) {
  make_database(file);
  ASSERT_EQ(import_error("shop/eu/app.db"), "imported");
  EXPECT_EQ(fingerprint(mount + "/shop/eu/app.db"), fingerprint(file));
}

TEST_F(Transfer, ImportRefusesNamesThatLeaveTheMount) {
  make_database(file);
  for (const char* name : {"", "/etc/x", "../x", "a/../../x", "a/", ".", "./a"})
    EXPECT_THAT(import_error(name), HasSubstr("not a name in the mount")) << name;
}

TEST_F(Transfer, ImportRefusesWhatIsNoDatabase) {
  for (std::string content : {"", "hello", "CREATE TABLE t(a);                              "}) {
    write_text(file, content);
    EXPECT_THAT(import_error(), HasSubstr("is not a SQLite database"));
  }
  EXPECT_EQ(files_in(mount), 0u);
}

TEST_F(Transfer, ImportRefusesADamagedDatabase) {
  make_database(file);
  {
    std::fstream damage(file, std::ios::in | std::ios::out | std::ios::binary);
    damage.seekp(4096 * 5);
    damage << std::string(4096, '\x5a');
  }
  EXPECT_THAT(import_error(), HasSubstr("is damaged"));
  EXPECT_EQ(files_in(mount), 0u);
}

TEST_F(Transfer, ImportRefusesATruncatedDatabase) {
  make_database(file);
  std::filesystem::resize_file(file, 4096 * 7 + 100);
  EXPECT_THAT(import_error(), HasSubstr("is damaged"));
  EXPECT_EQ(files_in(mount), 0u);
}

TEST_F(Transfer, ImportRefusesDanglingReferences) {
  make_database(file);
  open_database(file).run("CREATE TABLE u(x REFERENCES t(a)); INSERT INTO u VALUES(999999)").value();
  EXPECT_THAT(import_error(), HasSubstr("foreign keys"));
}

TEST_F(Transfer, ImportOverItselfIsRefused) {
  make_database(target);
  file = target;
  EXPECT_THAT(import_error(), HasSubstr("already"));
}

TEST_F(Transfer, ExportKeepsAnExistingFileUnlessForced) {
  make_database(target);
  write_text(file, "precious");
  EXPECT_THAT(export_error(), HasSubstr("--force"));
  EXPECT_EQ(std::filesystem::file_size(file), 8u);
  EXPECT_EQ(export_error(true), "exported");
  EXPECT_EQ(fingerprint(file), fingerprint(target));
}

TEST_F(Transfer, ExportLeavesNothingBehind) {
  make_database(target, 4096, "wal");
  ASSERT_EQ(export_error(), "exported");
  EXPECT_EQ(files_in(directory.path()), 2u);  // the mount and the file
}

TEST_F(Transfer, ExportOfADamagedDatabaseLeavesNoFile) {
  make_database(target);
  {
    std::fstream damage(target, std::ios::in | std::ios::out | std::ios::binary);
    damage.seekp(4096 * 5);
    damage << std::string(4096, '\x5a');
  }
  EXPECT_THAT(export_error(), HasSubstr("damaged"));
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST_F(Transfer, ExportSaysThatThereIsNoSuchDatabase) {
  EXPECT_THAT(export_error(), HasSubstr("no database app.db"));
  EXPECT_EQ(files_in(directory.path()), 1u);
}

TEST(ProgressBarText, FillsUp) {
  EXPECT_EQ(bar_text(0, 0, 4), "[----]   0%");
  EXPECT_EQ(bar_text(1, 2, 4), "[##--]  50%");
  EXPECT_EQ(bar_text(9, 2, 4), "[####] 100%");
}

}  // namespace
}  // namespace rillfs::cmd
