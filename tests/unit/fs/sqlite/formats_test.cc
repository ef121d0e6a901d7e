// Goal: our reading of SQLite's files is SQLite's own. Method: files made by the installed library at every
// page size and in both journal modes, compared with what the library says about them.
#include <gtest/gtest.h>

#include "fs/sqlite/database_header.h"
#include "fs/sqlite/journal.h"
#include "fs/sqlite/lock_bytes.h"
#include "fs/sqlite/wal.h"
#include "fs/sqlite/wal_index.h"
#include "tests/unit/fs/sqlite_support.h"

namespace rillfs::sqlite {
namespace {

using test::read_all;
using test::Sqlite;
using test::TemporaryDirectory;

class EveryPageSize : public testing::TestWithParam<std::uint32_t> {
 protected:
  std::string page_size_pragma() const { return "PRAGMA page_size=" + std::to_string(GetParam()) + ";"; }
  TemporaryDirectory dir_;
};

INSTANTIATE_TEST_SUITE_P(Formats, EveryPageSize, testing::ValuesIn(test::kAllPageSizes));

TEST_P(EveryPageSize, DatabaseHeaderAgreesWithSqlite) {
  const std::string path = dir_.file("a.db");
  for (const bool wal : {false, true}) {
    Sqlite db(path);
    db.run(page_size_pragma() + "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(randomblob(3000));");
    if (wal) db.run("PRAGMA journal_mode=WAL");
    const Buffer bytes = read_all(path);
    const auto header = parse_database_header(bytes);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->page_size, GetParam());
    EXPECT_EQ(header->is_wal(), wal);
    EXPECT_EQ(header->size_in_pages(bytes.size()).value, db.number("PRAGMA page_count"));
  }
}

TEST_P(EveryPageSize, EveryFrameOfARealWalVerifies) {
  const std::string path = dir_.file("a.db");
  Sqlite db(path);
  db.run(page_size_pragma() + "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x);");
  for (int i = 0; i < 20; ++i) db.run("INSERT INTO t VALUES(randomblob(2000))");
  const Buffer wal = read_all(path + "-wal");
  const Buffer shm = read_all(path + "-shm");
  auto header = parse_wal_header(wal);
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->page_size, GetParam());
  WalHeader copy = *header;
  const auto encoded = encode_wal_header(copy);
  EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), wal.begin()));

  const auto index = parse_wal_index_header(Bytes(shm).subspan(kIndexCopy1));
  ASSERT_TRUE(index);
  EXPECT_EQ(index->page_size, GetParam());
  EXPECT_EQ(index->salts, header->salts);
  EXPECT_EQ(index->size.value, db.number("PRAGMA page_count"));
  const auto encoded_index = encode_wal_index_header(*index);
  EXPECT_TRUE(std::equal(encoded_index.begin(), encoded_index.end(), shm.begin()));

  WalChecksum running = header->checksum;
  std::uint32_t frame = 1;
  for (; frame_offset(frame + 1, GetParam()) <= wal.size(); ++frame) {
    const Bytes bytes = Bytes(wal).subspan(frame_offset(frame, GetParam()), frame_size(GetParam()));
    const WalChecksum before = running;
    ASSERT_TRUE(verify_frame(bytes, header->salts, header->order, running)) << frame;
    const FrameHeader fields = parse_frame_header(bytes);
    std::uint8_t again[kFrameHeaderSize];
    WalChecksum sum = before;
    encode_frame_header(again, fields.pgno, fields.commit, fields.salts, bytes.subspan(kFrameHeaderSize),
                        header->order, sum);
    EXPECT_EQ(std::memcmp(again, bytes.data(), kFrameHeaderSize), 0);
    const std::uint32_t region = index_region(frame);
    const std::uint8_t* pgnos = shm.data() + region * kIndexRegionSize + index_pages_offset(region);
    EXPECT_EQ(load_host<std::uint32_t>(pgnos + 4 * (frame - frames_before_region(region) - 1)),
              fields.pgno.value);
  }
  EXPECT_EQ(index->max_frame, frame - 1);
  EXPECT_EQ(index->frame_checksum, running);
}

TEST_P(EveryPageSize, JournalIsHotUntilTheCommit) {
  const std::string path = dir_.file("a.db");
  Sqlite db(path);
  db.run(page_size_pragma() + "PRAGMA journal_mode=PERSIST; PRAGMA cache_size=2; CREATE TABLE t(x);");
  db.run("INSERT INTO t VALUES(zeroblob(300000));");
  const auto size_before = db.number("PRAGMA page_count");
  db.run("BEGIN; UPDATE t SET x=randomblob(300000);");  // larger than the cache: the journal is written
  const auto header = parse_journal_header(read_all(path + "-journal"));
  ASSERT_TRUE(header);
  EXPECT_EQ(header->page_size, GetParam());
  EXPECT_EQ(header->size_before.value, size_before);
  const Buffer journal = read_all(path + "-journal");
  EXPECT_TRUE(is_header_of_transaction(journal, 0, 12)) << "magic and records";
  EXPECT_FALSE(is_header_of_transaction(journal, 0, journal.size()));
  EXPECT_FALSE(is_header_of_transaction(journal, 0, header->sector_size)) << "it counts records";
  EXPECT_FALSE(is_header_of_transaction(journal, 16, 12));
  Buffer unsynced(journal.begin(), journal.begin() + header->sector_size);
  std::fill(unsynced.begin() + 8, unsynced.begin() + 12, 0xff);
  EXPECT_TRUE(is_header_of_transaction(unsynced, 0, unsynced.size()));
  EXPECT_FALSE(is_header_of_transaction(unsynced, 0, unsynced.size() + 1));
  db.run("COMMIT");
  EXPECT_FALSE(is_hot_header(read_all(path + "-journal")));
}

TEST_P(EveryPageSize, LockPageIsWhereTheLockBytesAre) {
  const std::int64_t begins = std::int64_t{lock_page(GetParam()).value - 1} * GetParam();
  EXPECT_LE(begins, kPendingByte);
  EXPECT_GT(begins + GetParam(), kPendingByte);
}

TEST(DatabaseHeader, SizeFieldCountsOnlyIfTheChangeCountersAgree) {
  DatabaseHeader header{.page_size = 4096, .change_counter = 7, .size_field = 3, .version_valid_for = 7};
  EXPECT_EQ(header.size_in_pages(10 * 4096), Pgno{3});
  header.version_valid_for = 6;
  EXPECT_EQ(header.size_in_pages(10 * 4096), Pgno{10});
  EXPECT_EQ(header.size_in_pages(10 * 4096 + 1), Pgno{11});
  header.version_valid_for = 7;
  header.size_field = 0;
  EXPECT_EQ(header.size_in_pages(2 * 4096), Pgno{2});
}

TEST(DatabaseHeader, RefusesWhatIsNoDatabase) {
  TemporaryDirectory dir;
  { Sqlite(dir.file("a.db")).run("CREATE TABLE t(x)"); }
  const Buffer good = read_all(dir.file("a.db"));
  ASSERT_TRUE(parse_database_header(good));
  EXPECT_FALSE(parse_database_header({}));
  EXPECT_FALSE(parse_database_header(Bytes(good).first(99)));
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Buffer bad = good;
    bad[at] = value;
    return parse_database_header(bad);
  };
  EXPECT_FALSE(with(0, 's'));
  EXPECT_FALSE(with(15, 1));
  EXPECT_FALSE(with(16, 0x11));  // 4352, no power of two
  EXPECT_FALSE(with(16, 0));     // 0
  EXPECT_FALSE(with(19, 0));
  EXPECT_EQ(with(19, 3).error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(with(21, 65));
}

TEST(WalHeader, RefusesAnyFlippedBit) {
  WalHeader header{.page_size = 4096, .checkpoint_sequence = 9, .salts = {1, 2}};
  const auto good = encode_wal_header(header);
  ASSERT_TRUE(parse_wal_header(good));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(parse_wal_header(bad)) << bit;
  }
  EXPECT_FALSE(parse_wal_header(Bytes(good).first(31)));
}

TEST(WalHeader, BothWordOrdersRoundTrip) {
  for (const WordOrder order : {WordOrder::kLittle, WordOrder::kBig}) {
    WalHeader header{.order = order, .page_size = 65536, .salts = {0xfffffffe, 3}};
    const auto parsed = parse_wal_header(encode_wal_header(header));
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->order, order);
    EXPECT_EQ(parsed->salts, header.salts);
    EXPECT_EQ(parsed->checksum, header.checksum);
  }
}

TEST(WalHeader, RefusesABadPageSizeEvenWithAGoodChecksum) {
  WalHeader header{.page_size = 1000};
  EXPECT_FALSE(parse_wal_header(encode_wal_header(header)));
}

TEST(WalFrame, RefusesAnyChangeAndLeavesTheRunningChecksum) {
  Buffer frame(kFrameHeaderSize + 512, 7);
  WalChecksum sum{1, 2};
  encode_frame_header(frame.data(), Pgno{3}, Pgno{5}, {8, 9}, Bytes(frame).subspan(kFrameHeaderSize),
                      kHostWordOrder, sum);
  for (const std::size_t at : {0U, 5U, 9U, 13U, 17U, 23U, 24U, 535U}) {
    Buffer bad = frame;
    bad[at] ^= 1;
    WalChecksum running{1, 2};
    EXPECT_FALSE(verify_frame(bad, {8, 9}, kHostWordOrder, running)) << at;
    EXPECT_EQ(running, (WalChecksum{1, 2}));
  }
  WalChecksum running{1, 2};
  EXPECT_FALSE(verify_frame(Bytes(frame).first(24), {8, 9}, kHostWordOrder, running));
  EXPECT_FALSE(verify_frame(Bytes(frame).first(500), {8, 9}, kHostWordOrder, running));
  EXPECT_TRUE(verify_frame(frame, {8, 9}, kHostWordOrder, running));
  EXPECT_EQ(running, sum);
}

TEST(WalFrame, PageNumberZeroIsNoFrame) {
  Buffer frame(kFrameHeaderSize + 512, 7);
  WalChecksum sum;
  encode_frame_header(frame.data(), Pgno{0}, Pgno{5}, {}, Bytes(frame).subspan(kFrameHeaderSize),
                      kHostWordOrder, sum);
  WalChecksum running;
  EXPECT_FALSE(verify_frame(frame, {}, kHostWordOrder, running));
}

TEST(WalIndexHeader, RefusesAnyFlippedBit) {
  const auto good = encode_wal_index_header({.change = 4, .page_size = 512, .max_frame = 3, .size = Pgno{2}});
  ASSERT_TRUE(parse_wal_index_header(good));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    auto bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(parse_wal_index_header(bad)) << bit;
  }
  EXPECT_FALSE(parse_wal_index_header(Bytes(good).first(47)));
  EXPECT_FALSE(parse_wal_index_header(Buffer(48, 0)));
}

TEST(WalIndexRegions, FramesFallWhereSqlitePutsThem) {
  EXPECT_EQ(index_region(1), 0U);
  EXPECT_EQ(index_region(4062), 0U);
  EXPECT_EQ(index_region(4063), 1U);
  EXPECT_EQ(index_region(4062 + 4096), 1U);
  EXPECT_EQ(index_region(4062 + 4097), 2U);
  EXPECT_EQ(frames_before_region(2), 4062U + 4096U);
  EXPECT_EQ(index_region(0xffffffff), 1 + (0xffffffffU - 4063) / 4096);
}

// SQLite's default VFS, except that it looks at a journal at the moment the super-journal is deleted: that is
// the commit, and the only moment at which the name can be seen.
struct SuperJournalWatcher {
  static inline std::string watched_journal;
  static inline std::optional<std::string> deleted_super;
  static inline std::optional<std::string> name_in_journal;

  static int on_delete(sqlite3_vfs* vfs, const char* path, int sync) {
    if (is_super_journal_name(path)) {
      deleted_super = path;
      name_in_journal = parse_super_journal_name(read_all(watched_journal));
    }
    return sqlite3_vfs_find("unix")->xDelete(vfs, path, sync);
  }
};

TEST(SuperJournal, NameIsFoundInARealJournal) {
  TemporaryDirectory dir;
  SuperJournalWatcher::watched_journal = dir.file("other.db-journal");
  sqlite3_vfs vfs = *sqlite3_vfs_find("unix");
  vfs.zName = "watching";
  vfs.xDelete = SuperJournalWatcher::on_delete;
  ASSERT_EQ(sqlite3_vfs_register(&vfs, 0), SQLITE_OK);
  {
    Sqlite db("file:" + dir.file("main.db") + "?vfs=watching");
    db.run("ATTACH 'file:" + dir.file("other.db") + "?vfs=watching' AS other;");
    db.run("CREATE TABLE t(x); CREATE TABLE other.u(x);");
    db.run("BEGIN; INSERT INTO t VALUES(1); INSERT INTO other.u VALUES(1); COMMIT;");
  }
  sqlite3_vfs_unregister(&vfs);
  ASSERT_TRUE(SuperJournalWatcher::deleted_super);
  EXPECT_EQ(SuperJournalWatcher::name_in_journal, SuperJournalWatcher::deleted_super);
  EXPECT_TRUE(SuperJournalWatcher::deleted_super->starts_with(dir.file("main.db")));
}

Buffer super_record(std::string_view name) {
  constexpr std::uint8_t kMagic[] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  std::uint32_t sum = 0;
  for (const char c : name) sum += static_cast<std::uint32_t>(c);
  Buffer record(4 + name.size() + 8);
  std::copy(name.begin(), name.end(), record.begin() + 4);
  store_be(record.data() + 4 + name.size(), static_cast<std::uint32_t>(name.size()));
  store_be(record.data() + 8 + name.size(), sum);
  append_bytes(record, kMagic);
  return record;
}

TEST(SuperJournal, MalformedRecordsNameNothing) {
  const Buffer good = super_record("/x/a\xc3\xa4-mj0123459AB");
  EXPECT_EQ(parse_super_journal_name(good), "/x/a\xc3\xa4-mj0123459AB");
  for (std::size_t at = 4; at < good.size(); ++at) {
    Buffer bad = good;
    bad[at] ^= 0x40;
    EXPECT_FALSE(parse_super_journal_name(bad)) << at;
  }
  for (std::size_t size = 0; size < good.size() - 4; ++size)
    EXPECT_FALSE(parse_super_journal_name(Bytes(good).last(size))) << size;
  EXPECT_FALSE(parse_super_journal_name(super_record("")));
  EXPECT_FALSE(parse_super_journal_name(super_record(std::string(8000, 'a'))));
  EXPECT_FALSE(parse_super_journal_name(super_record(std::string_view("a\0b", 3))));
}

TEST(Names, CompanionsAreTakenApart) {
  const auto wal = split_companion("dir/x.db-wal");
  ASSERT_TRUE(wal);
  EXPECT_EQ(wal->base, "dir/x.db");
  EXPECT_EQ(wal->kind, Companion::kWal);
  EXPECT_EQ(split_companion("x-shm")->kind, Companion::kShm);
  EXPECT_EQ(split_companion("x-journal")->kind, Companion::kJournal);
  EXPECT_EQ(split_companion("x-wal-wal")->base, "x-wal");
  for (const char* name : {"", "x", "-wal", "d/-wal", "x-WAL", "x-walx", "wal", "x-journa"})
    EXPECT_FALSE(split_companion(name)) << name;
  EXPECT_EQ(companion_name("x.db", Companion::kJournal), "x.db-journal");
}

TEST(Names, SuperJournals) {
  EXPECT_TRUE(is_super_journal_name("x.db-mj0A1B2C9FF"));
  for (const char* name : {"-mj0A1B2C9FF", "d/-mj0A1B2C9FF", "x-mj0A1B2C8FF", "x-mj0a1b2c9ff", "x-mj0A1B2C9F",
                           "x-mj0A1B2C9FFF", "x-mk0A1B2C9FF", ""})
    EXPECT_FALSE(is_super_journal_name(name)) << name;
}

TEST(LockBytes, AreWhereSqliteLocksThem) {
  EXPECT_EQ(kReserved.start, 0x40000001);
  EXPECT_EQ(kShared.start, 0x40000002);
  EXPECT_EQ(kShared.start + kShared.length - 1, 0x40000000 + 511);
  EXPECT_EQ(kWalRead1To4.start + kWalRead1To4.length, kDeadManSwitch.start);
}

}  // namespace
}  // namespace rillfs::sqlite
