// Goal: one database whose files are damaged does not stop the node, is not served, not adopted under another
// id, and not changed. Method: a primary without a mount (captured_sqlite.h), one of whose databases is
// damaged between two lives.
#include <gtest/gtest.h>

#include <fstream>

#include "fs/database_info.h"
#include "fs/parking.h"
#include "replication/node.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

void write_text(const std::string& path, const std::string& text) {
  write_all(path, Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

class OutOfService : public ::testing::Test {
 protected:
  void SetUp() override {
    Primary primary(files_, data_.file("data"));
    ASSERT_TRUE(primary.start());
    CapturingVfs vfs(primary);
    for (const char* name : {"bad.db", "good.db"}) {
      Sqlite db(vfs.uri(name));
      db.run("CREATE TABLE t(n)");
      for (int i = 0; i < 5; ++i) db.run("INSERT INTO t VALUES(" + std::to_string(i) + ")");
    }
    id_ = primary.database("bad.db")->id();
    directory_ = primary.environment().database_directory(id_);
  }
  /// Flips a byte of the second record's image: the later ones say that it was durable.
  void damage_log() {
    for (const auto& entry : std::filesystem::directory_iterator(directory_ + "/log")) {
      Buffer bytes = read_all(entry.path());
      bytes[bytes.size() / 2] ^= 0xff;
      write_all(entry.path(), bytes);
    }
  }
  std::map<std::string, Buffer> everything_of_it() const {
    std::map<std::string, Buffer> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory_))
      if (entry.is_regular_file()) found[entry.path()] = read_all(entry.path());
    found["file"] = read_all(data_.file("data/tree/bad.db"));
    return found;
  }
  void expect_out_of_service(const std::string& says) {
    const auto before = everything_of_it();
    for (int start = 0; start < 2; ++start) {
      Primary primary(files_, data_.file("data"));
      auto started = primary.start();
      ASSERT_TRUE(started) << started.error().message;
      ASSERT_FALSE(primary.databases().out_of_service().empty());
      const auto& one = primary.databases().out_of_service().front();
      EXPECT_EQ(one.id, id_);
      EXPECT_NE(one.why.find(says), std::string::npos) << one.why;
      EXPECT_EQ(primary.database("bad.db"), nullptr);
      EXPECT_EQ(primary.adopt("bad.db"), nullptr);
      for (const char* name : {"bad.db", "bad.db-wal", "bad.db-journal", "bad.db-shm"}) {
        auto usable = primary.databases().require_in_service(name);
        ASSERT_FALSE(usable) << name;
        EXPECT_EQ(usable.error().errno_value, EIO);
      }
      EXPECT_EQ(primary.databases().withheld(), std::vector<DatabaseId>{id_});
      primary.close();
    }
    EXPECT_EQ(everything_of_it(), before);
  }
  void expect_others_work() {
    Primary primary(files_, data_.file("data"));
    ASSERT_TRUE(primary.start());
    CapturingVfs vfs(primary);
    Sqlite db(vfs.uri("good.db"));
    db.run("INSERT INTO t VALUES(77)");
    EXPECT_EQ(db.number("SELECT count(*) FROM t WHERE n=77"), 1);
  }

  PosixFileSystem files_;
  TemporaryDirectory data_;
  DatabaseId id_;
  std::string directory_;
};

TEST_F(OutOfService, DamagedLog) {
  damage_log();
  expect_out_of_service(".seg");
  expect_others_work();
}

TEST_F(OutOfService, DamagedBase) {
  write_text(directory_ + "/base.json", "{\"base\": 7}");
  expect_out_of_service("base.json");
  expect_others_work();
}

TEST_F(OutOfService, FileWhoseNameCannotBeReadIsNotAdoptedUnderAnotherId) {
  write_text(directory_ + "/info.json", "{\"path_hex\"");
  expect_out_of_service("info.json");
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  ASSERT_EQ(primary.databases().out_of_service().size(), 2U);
  EXPECT_EQ(primary.databases().out_of_service().back().path, "bad.db");
  EXPECT_TRUE(primary.databases().require_in_service("good.db"));
}

TEST_F(OutOfService, ReplicaParksItAndHasTheNameFree) {
  const auto before = everything_of_it();
  damage_log();
  Primary replica(files_, data_.file("data"));
  replica.environment().primary = false;
  ASSERT_TRUE(replica.databases().recover());
  EXPECT_TRUE(replica.databases().out_of_service().empty());
  EXPECT_EQ(replica.databases().list().size(), 1U);
  EXPECT_FALSE(std::filesystem::exists(directory_));
  EXPECT_FALSE(std::filesystem::exists(data_.file("data/tree/bad.db")));
  EXPECT_EQ(count_parked(files_, replica.environment().parked_directory(), id_), 1U);
  EXPECT_EQ(
      read_all(replica.environment().parked_directory() + "/" + to_hex(id_.value) + "-damaged/database"),
      before.at("file"));
}

TEST_F(OutOfService, NoRoomIsNoDamage) {
  FaultyFileSystem faulty(files_);
  Primary primary(faulty, data_.file("data"));
  faulty.fail_nth(0, ENOSPC, "recovery");
  (void)primary.start();
  EXPECT_TRUE(primary.databases().out_of_service().empty());
}

TEST_F(OutOfService, InfoJsonOfWrongTypesIsAnErrorThatNamesTheFile) {
  const std::string path = data_.file("info.json");
  for (const char* text :
       {"", "7", "[]", "{", "null", "{\"path_hex\": 5}", "{\"path_hex\": \"6\"}", "{\"path_hex\": \"\"}",
        "{\"path_hex\": \"zz\"}", "{\"path_hex\": \"2e2e2f78\"}", "{\"path_hex\": \"2f78\"}",
        "{\"path_hex\": \"78\", \"mode\": \"rw\"}", "{\"path_hex\": \"78\", \"mode\": -1}",
        "{\"path_hex\": \"78\", \"mode\": 4096}", "{\"path_hex\": \"78\", \"uid\": []}",
        "{\"path_hex\": \"78\", \"uid\": 1e300}", "{\"path_hex\": \"78\", \"gid\": 4294967296}"}) {
    write_text(path, text);
    auto loaded = load_database_info(files_, data_.file(""), DatabaseId{1});
    ASSERT_FALSE(loaded) << text;
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt) << text;
    EXPECT_NE(loaded.error().message.find("info.json"), std::string::npos) << loaded.error().message;
  }
}

TEST_F(OutOfService, ClusterJsonOfWrongTypesIsAnErrorThatNamesTheFile) {
  SystemRandom random;
  TemporaryDirectory node;
  const std::string head = "{\"cluster_id\": \"0000000000000001\", ";
  for (const std::string& text :
       {std::string(""), std::string("7"), std::string("{"), std::string(5000, ' '),
        std::string("{\"cluster_id\": 5, \"epoch\": 1, \"role\": \"primary\"}"), head + "\"epoch\": \"1\"}",
        head + "\"epoch\": -1, \"role\": \"primary\"}", head + "\"epoch\": 1, \"role\": 2}",
        head + "\"epoch\": 1.5, \"role\": \"primary\"}", head + "\"epoch\": 1, \"role\": \"king\"}"}) {
    write_text(node.file("cluster.json"), text);
    auto opened = Node::open(files_, node.file(""), random);
    ASSERT_FALSE(opened) << text;
    EXPECT_NE(opened.error().message.find("cluster.json"), std::string::npos) << opened.error().message;
  }
}

TEST_F(OutOfService, WhatAFailedParkingLeftGoesAtTheNextAttemptAndAtTheStart) {
  FaultyFileSystem faulty(files_);
  const std::string parked = data_.file("data/parked");
  {
    Primary primary(faulty, data_.file("data"));
    ASSERT_TRUE(primary.start());
    auto database = primary.database("bad.db");
    faulty.fail_nth(1, EIO, "park");
    EXPECT_FALSE(park(primary.environment(), *database));
    faulty.stop_failing();
    EXPECT_TRUE(std::filesystem::is_empty(parked));
    const Position at = database->published();
    const std::string place = parked + "/" + to_hex(id_.value) + "-" + std::to_string(at.epoch.value) + "-" +
                              to_hex(at.txid.value) + "-" + to_hex(at.checksum.value);
    std::filesystem::create_directories(place + ".tmp");
    write_all(place + ".tmp/database", Buffer(1 << 20, 1));  // longer than it will be
    EXPECT_TRUE(park(primary.environment(), *database));
    EXPECT_EQ(Sqlite(place + "/database").text("PRAGMA integrity_check"), "ok");
    EXPECT_EQ(std::filesystem::file_size(place + "/database"), *database->size());
    std::filesystem::create_directories(parked + "/0000000000000001-1-0000000000000001.tmp/log");
  }
  Primary again(files_, data_.file("data"));
  ASSERT_TRUE(again.start());
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(parked), {}), 1);
}

}  // namespace
}  // namespace rillfs::test
