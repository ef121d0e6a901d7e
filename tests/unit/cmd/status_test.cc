// Goal: the JSON keys that scripts depend on, names that are any bytes, and a page that reads well.
#include "cmd/status.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "cmd/printable.h"
#include "cmd/status_table.h"
#include "cmd/table.h"

namespace rillfs::cmd {
namespace {

using nlohmann::json;

constexpr std::int64_t kNow = 1'795'251'893'000;  // 2026-11-21 09:04:53 UTC

NodeStatus primary() {
  NodeStatus s;
  s.node = NodeId{0x1234};
  s.epoch = Epoch{7};
  s.cluster = ClusterId{9};
  s.version = "0.1.0";
  s.now_ms = kNow;
  s.role_since_ms = kNow - 3'600'000;
  s.primary = s.advertise = "db-1:20202";
  s.primary_since_ms = s.role_since_ms;
  s.data = "/d";
  s.mountpoint = "/m";
  s.capture = "hold";
  s.capture_why = "the configuration says hold";
  s.databases.push_back(
      {"app.db", Txid{1234567}, Checksum{0x8000000000000001}, 10 << 20, 1536, "wal", "tail", 0, 0});
  ReplicaStatus up{NodeId{2}, "db-2:20202",
                   true,      kNow - 5000,
                   3,         0,
                   0,         {{"app.db", Txid{1234567}, Checksum{0x8000000000000001}}}};
  ReplicaStatus gone{NodeId{3}, "db-3:20202", false, kNow - 65'000, 65'000, 42, 4096, {}};
  s.replicas = {up, gone};
  return s;
}

TEST(Status, JsonHasTheDocumentedKeys) {
  json out = to_json(primary());
  EXPECT_EQ(out["node"], "0000000000001234");
  EXPECT_EQ(out["role"], "primary");
  EXPECT_EQ(out["epoch"], 7);
  EXPECT_EQ(out["capture"], "hold");
  EXPECT_EQ(out["capture_why"], "the configuration says hold");
  EXPECT_EQ(out["primary"], "db-1:20202");
  json database = out["databases"][0];
  EXPECT_EQ(database["name"], "app.db");
  EXPECT_EQ(database["txid"], 1234567);
  EXPECT_EQ(database["checksum"], "8000000000000001");
  EXPECT_EQ(database["size"], 10 << 20);
  EXPECT_EQ(database["capture"], "tail");
  EXPECT_EQ(database["lag_ms"], 0);
  json replica = out["replicas"][1];
  EXPECT_EQ(replica["node"], "0000000000000003");
  EXPECT_EQ(replica["connected"], false);
  EXPECT_EQ(replica["lag_ms"], 65'000);
  EXPECT_EQ(replica["lag_txs"], 42);
}

TEST(Status, ComesBackFromJsonAsItWas) {
  NodeStatus s = primary();
  s.databases[0].snapshot = SnapshotProgress{1, 2, 3};
  s.databases[0].problem = "disk on fire";
  s.databases[0].damaged = 3;
  s.databases[0].check = CheckStatus{kNow, 100, 2, 1};
  s.parked = {"00000000000000aa-1-0000000000000007"};
  s.databases.push_back({"bytes \xff\x01 \xe2\x82.db"});
  s.replicas[0].positions[0].checksum = Checksum{};
  EXPECT_EQ(status_from_json(json::parse(to_json(s).dump())).value(), s);
}

TEST(Status, NamesThatAreNotUtf8CarryTheirBytes) {
  NodeStatus s;
  s.databases.push_back({"a\xff.db"});
  s.databases.push_back({"b\n\xc3\xa9"});
  json out = to_json(s);
  EXPECT_EQ(out["databases"][0]["name"], "a\xef\xbf\xbd.db");
  EXPECT_EQ(out["databases"][0]["name_hex"], "61ff2e6462");
  EXPECT_FALSE(out["databases"][1].contains("name_hex"));
  EXPECT_NE(out.dump().find("b\\n"), std::string::npos);
}

TEST(Status, RefusesJsonThatIsNoStatus) {
  for (const char* text : {"null", "[]", "{}", "1"})
    EXPECT_FALSE(status_from_json(json::parse(text))) << text;
  for (auto [key, value] : {std::pair<const char*, json>{"node", "12"},
                            {"role", "king"},
                            {"epoch", "x"},
                            {"databases", 5},
                            {"databases", {{"name", 1}}},
                            {"replicas", json::array({1})}}) {
    json broken = to_json(primary());
    broken[key] = value;
    EXPECT_FALSE(status_from_json(broken)) << key;
  }
}

TEST(StatusTable, ShowsAPrimary) {
  EXPECT_EQ(render_status(primary(), false),
            "primary  node 0000000000001234  epoch 7  since 2026-11-21 08:04:53 UTC (1h)\n"
            "mount    /m\n"
            "address  db-1:20202\n"
            "capture  hold: the configuration says hold\n"
            "\n"
            "DATABASE       TXID  CHECKSUM            SIZE      LOG  JOURNAL\n"
            "app.db    1,234,567  8000000000000001  10 MiB  1.5 KiB  wal, tail\n"
            "\n"
            "REPLICA           ADDRESS     STATE             LAG  TXS  BYTES\n"
            "0000000000000002  db-2:20202  connected        3 ms    0    0 B\n"
            "0000000000000003  db-3:20202  gone for 1m 5s  1m 5s   42  4 KiB\n"
            "\n"
            "REPLICA           DATABASE       TXID  CHECKSUM\n"
            "0000000000000002  app.db    1,234,567  8000000000000001\n");
}

TEST(StatusTable, AChecksumThatIsNotKnownIsNotShownAsZeroes) {
  NodeStatus s = primary();
  s.replicas[0].positions[0].checksum = Checksum{};
  EXPECT_TRUE(to_json(s)["replicas"][0]["positions"][0]["checksum"].is_null());
  EXPECT_NE(render_status(s, false).find("0000000000000002  app.db    1,234,567  -\n"), std::string::npos)
      << render_status(s, false);
}

TEST(StatusTable, ShowsAReplicaWithItsLagAndSnapshot) {
  NodeStatus s = primary();
  s.role = Role::kReplica;
  s.connected = false;
  s.databases[0].lag_ms = 2500;
  s.databases[0].snapshot = SnapshotProgress{25 << 20, 100 << 20, 5 << 20};
  std::string page = render_status(s, false);
  EXPECT_NE(page.find("primary  db-1:20202  not connected\n"), std::string::npos) << page;
  EXPECT_NE(page.find("2.5 s  snapshot 25% of 100 MiB, 5 MiB/s, 15.0 s left\n"), std::string::npos) << page;
  EXPECT_EQ(page.find("REPLICA "), std::string::npos) << page;
}

TEST(StatusTable, NeverLetsANameControlTheTerminal) {
  NodeStatus s = primary();
  s.databases[0].name = "\x1b[31m\xc2\x9b\xe2\x80\xae\xff\\.db";
  std::string page = render_status(s, false);
  EXPECT_EQ(page.find('\x1b'), std::string::npos);
  EXPECT_NE(page.find("\\x1b[31m\\xc2\\x9b\\xe2\\x80\\xae\\xff\\\\.db"), std::string::npos) << page;
}

TEST(StatusTable, ColoursOnlyWhenAsked) {
  EXPECT_NE(render_status(primary(), true).find("\x1b[32mconnected\x1b[0m"), std::string::npos);
}

TEST(StatusTable, NamesThePrimary) {
  EXPECT_EQ(render_primary(primary(), false),
            "db-1:20202  this node  epoch 7  since 2026-11-21 08:04:53 UTC (1h)\n");
}

TEST(Table, QuantitiesForPeople) {
  EXPECT_EQ(human_size(0), "0 B");
  EXPECT_EQ(human_size(1023), "1023 B");
  EXPECT_EQ(human_size(1536), "1.5 KiB");
  EXPECT_EQ(human_size(1048575), "1.0 MiB");
  EXPECT_EQ(human_size(~0ull), "16 EiB");
  EXPECT_EQ(human_duration(999), "999 ms");
  EXPECT_EQ(human_duration(90'000'000), "1d 1h");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(1000000), "1,000,000");
}

TEST(Printable, KnowsUtf8) {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf"})
    EXPECT_EQ(valid_utf8(good), good);
  for (const char* bad :
       {"\x80", "\xc0\xaf", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8", "\xe0\x80\xaf"})
    EXPECT_NE(valid_utf8(bad), bad);
}

}  // namespace
}  // namespace rillfs::cmd
