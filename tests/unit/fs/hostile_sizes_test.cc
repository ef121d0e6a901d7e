// Goal: memory and time grow with the bytes that came, not with what a length says. Method: sizes near 2^32
// in everything that is read from an application, the disk or the wire, under a limit on the address space.
#include <gtest/gtest.h>

#include "fs/replay.h"
#include "fs/snapshot_receiver.h"
#include "replication/ltx/checksum.h"
#include "replication/ltx/encoder.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/memory_limit.h"

namespace rillfs::test {
namespace {

constexpr std::uint64_t kMemory = 256 << 20;
constexpr Pgno kHuge{0xfffffffe};  // what SQLite's largest database has
constexpr Pgno kBeyond{0xffffffff};

/// A change set that says the database has `commit` pages and brings page 1 only.
Buffer lie(std::uint32_t page_size, Pgno commit, const Position& pre, Checksum post) {
  ltx::Header header;
  header.page_size = page_size;
  header.commit = Pgno{1};
  header.min_txid = header.max_txid = pre.txid.next();
  header.timestamp_ms = 1;
  if (!header.is_snapshot()) header.pre_apply = pre.checksum;
  header.commit = commit;
  Buffer image;
  BufferSink sink(image);
  ltx::Encoder encoder(sink);
  const Buffer page(page_size, 7);
  if (auto begun = encoder.begin(header); !begun) return image;
  EXPECT_TRUE(encoder.page(Pgno{1}, page));
  EXPECT_TRUE(encoder.finish(post));
  return image;
}

class HostileSizes : public ::testing::Test {
 protected:
  void SetUp() override {
    primary_ = std::make_unique<Primary>(files_, data_.file("data"));
    ASSERT_TRUE(primary_->start());
  }
  /// A database with a table, in WAL mode or not, and no connection.
  std::shared_ptr<Database> make(const std::string& mode, const std::string& before = "") {
    CapturingVfs vfs(*primary_);
    Sqlite db(vfs.uri("app.db"));
    if (!before.empty()) db.run(before);
    db.run("PRAGMA journal_mode=" + mode);
    db.run("CREATE TABLE t(n, b)");
    db.run("INSERT INTO t VALUES(1, randomblob(5000))");
    return primary_->database("app.db");
  }
  void expect_usable() {
    CapturingVfs vfs(*primary_);
    Sqlite db(vfs.uri("app.db"));
    db.run("INSERT INTO t VALUES(2, randomblob(5000))");
    EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
  }
  std::string path(const std::string& name) const { return data_.file("data/tree/" + name); }

  PosixFileSystem files_;
  TemporaryDirectory data_;
  std::unique_ptr<Primary> primary_;
};

TEST_F(HostileSizes, WalFrameThatSaysTheDatabaseIsHugeIsRefused) {
  for (Pgno commit : {kHuge, kBeyond, Pgno{100'000'000}}) {
    auto database = make("WAL", "DROP TABLE IF EXISTS t");
    ASSERT_TRUE(database);
    const Position before = database->published();
    const std::uint32_t size = database->page_size();
    auto opened = files_.open(path("app.db-wal"), OpenMode::kCreate, "test");
    ASSERT_TRUE(opened);
    std::shared_ptr<File> wal = std::move(*opened);
    ASSERT_TRUE(database->resize_wal(wal, 0, Caller::kApplication));
    sqlite::WalHeader header{.order = sqlite::kHostWordOrder, .page_size = size};
    header.salts = {commit.value, 77};
    const auto start = sqlite::encode_wal_header(header);
    ASSERT_TRUE(database->write_wal(wal, start, 0, Caller::kApplication));
    Buffer frame(sqlite::frame_size(size), 9);
    auto running = header.checksum;
    sqlite::encode_frame_header(frame.data(), Pgno{2}, commit, header.salts,
                                Bytes(frame).subspan(sqlite::kFrameHeaderSize), header.order, running);
    store_be(frame.data() + 8, header.salts.first);
    store_be(frame.data() + 12, header.salts.second);
    {
      MemoryLimit limit(kMemory);
      auto written = database->write_wal(wal, frame, sqlite::kWalHeaderSize, Caller::kApplication);
      ASSERT_FALSE(written) << commit.value;
      EXPECT_EQ(written.error().errno_value, EIO);
      EXPECT_NE(written.error().message.find("app.db"), std::string::npos) << written.error().message;
    }
    EXPECT_EQ(database->published(), before);
    EXPECT_EQ(database->details().failure, "");
    ASSERT_TRUE(database->remove_wal([&]() -> Result<void> {
      ::unlink(path("app.db-wal").c_str());
      ::unlink(path("app.db-shm").c_str());
      return {};
    }));
    expect_usable();
  }
}

TEST_F(HostileSizes, WalWriteBeyondTheLastFrameThatCanBeIsRefused) {
  auto database = make("WAL");
  CapturingVfs vfs(*primary_);
  Sqlite db(vfs.uri("app.db"));
  db.run("INSERT INTO t VALUES(3, 3)");  // a generation is there
  auto opened = files_.open(path("app.db-wal"), OpenMode::kReadWrite, "test");
  ASSERT_TRUE(opened);
  std::shared_ptr<File> wal = std::move(*opened);
  const Buffer bytes(100, 1);
  EXPECT_FALSE(database->write_wal(wal, bytes, std::uint64_t{1} << 60, Caller::kApplication));
  EXPECT_FALSE(database->write_wal(wal, bytes, ~std::uint64_t{0} - 50, Caller::kApplication));
  db.run("INSERT INTO t VALUES(4, 4)");
}

TEST_F(HostileSizes, PagesThatWereFreedBeforeTheyWereWrittenStillCount) {
  for (const char* size : {"512", "4096", "65536"}) {
    for (const char* mode : {"WAL", "DELETE"}) {
      SCOPED_TRACE(std::string(size) + " " + mode);
      const std::string name = std::string("free-") + size + mode + ".db";
      CapturingVfs vfs(*primary_);
      Sqlite db(vfs.uri(name));
      db.run(std::string("PRAGMA page_size=") + size);
      db.run(std::string("PRAGMA journal_mode=") + mode);
      db.run("CREATE TABLE t(n, b)");
      db.run("BEGIN");
      db.run("INSERT INTO t VALUES(1, zeroblob(20000000))");
      db.run("DELETE FROM t");
      db.run("COMMIT");
      auto database = primary_->database(name);
      EXPECT_GT(database->page_count().value, 20000000U / 65600);
      EXPECT_EQ(db.text("PRAGMA integrity_check"), "ok");
    }
  }
}

TEST_F(HostileSizes, WriteFarBehindTheEndOfTheFileCostsWhatItWrites) {
  auto database = make("DELETE");
  auto opened = files_.open(path("app.db-journal"), OpenMode::kCreate, "test");
  ASSERT_TRUE(opened);
  std::shared_ptr<File> journal = std::move(*opened);
  std::uint8_t header[sqlite::kJournalHeaderSize] = {0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7};
  header[sizeof header - 1] = 1;
  ASSERT_TRUE(database->write_journal(journal, header, 0));
  const Buffer page(4096, 5);
  {
    MemoryLimit limit(kMemory);
    // Whether the backing file system can is not the question.
    (void)database->write(page, std::uint64_t{1} << 42, Caller::kApplication);
    auto ended = database->remove_journal([&]() -> Result<void> {
      ::unlink(path("app.db-journal").c_str());
      return {};
    });
    (void)ended;
  }
  EXPECT_EQ(database->details().failure, "");
}

TEST_F(HostileSizes, SparseFileThatIsNoDatabaseOfThatSizeIsNotTakenOver) {
  {
    Sqlite db(path("sparse.db"));
    db.run("PRAGMA page_size=512");
    db.run("CREATE TABLE t(n)");
  }
  Buffer start = read_all(path("sparse.db"));
  store_be(start.data() + 28, std::uint32_t{0});  // the size is what the file has
  write_all(path("sparse.db"), start);
  ASSERT_EQ(::truncate(path("sparse.db").c_str(), std::int64_t{0xfffffff0} * 512), 0);
  auto database = primary_->adopt("sparse.db");
  ASSERT_TRUE(database);
  MemoryLimit limit(kMemory);
  auto taken = database->reconcile();
  ASSERT_FALSE(taken);
  EXPECT_NE(taken.error().message.find("sparse.db"), std::string::npos);
  EXPECT_FALSE(database->replicated());
}

TEST_F(HostileSizes, ReplicaRefusesAChangeSetThatGrowsWithoutPages) {
  auto database = make("DELETE");
  primary_->environment().primary = false;
  const Position here = database->published();
  for (Pgno commit : {kHuge, kBeyond}) {
    MemoryLimit limit(kMemory);
    const Position there{here.epoch, here.txid.next(), Checksum{Checksum::kFlag | 9}};
    const Buffer image = lie(database->page_size(), commit, here, there.checksum);
    const stream::ChangeSetInfo info{here, there, image.size(), 1, 1};
    auto received = database->receive(info, {image, ""});
    ASSERT_FALSE(received);
    EXPECT_EQ(received.error().code, ErrorCode::kCorrupt);
  }
}

class HostileSnapshot : public HostileSizes {
 protected:
  std::unique_ptr<SnapshotReceiver> begin() {
    const Position start{Epoch{1}, Txid{5}, Checksum{Checksum::kFlag | 1}};
    stream::DatabaseInfo info;
    info.id = DatabaseId{77};
    info.path = "in.db";
    auto begun = SnapshotReceiver::begin(primary_->environment(), info, start, 512);
    EXPECT_TRUE(begun);
    return std::move(*begun);
  }
};

TEST_F(HostileSnapshot, PageFarAwayCostsOnePage) {
  auto receiver = begin();
  const Buffer page(512, 3);
  MemoryLimit limit(kMemory);
  ASSERT_TRUE(receiver->page(Pgno{1}, page));
  (void)receiver->page(Pgno{0xfffffff0}, page);
  (void)receiver->end(receiver->position());
  auto verified = receiver->verify();
  ASSERT_FALSE(verified);
  EXPECT_EQ(verified.error().code, ErrorCode::kCorrupt);
}

TEST_F(HostileSnapshot, ChangeSetThatSaysTheDatabaseIsHugeCostsWhatItBrings) {
  for (Pgno commit : {kHuge, kBeyond}) {
    auto receiver = begin();
    ASSERT_TRUE(receiver->page(Pgno{1}, Buffer(512, 3)));
    MemoryLimit limit(kMemory);
    const Position here = receiver->position();
    const Position there{here.epoch, here.txid.next(),
                         Checksum::empty().toggled(ltx::page_checksum(Pgno{1}, Buffer(512, 7)))};
    const Buffer image = lie(512, commit, here, there.checksum);
    auto taken = receiver->change_set({here, there, image.size(), 1, 1}, {image, ""});
    ASSERT_TRUE(receiver->end(there));
    EXPECT_FALSE(taken && receiver->verify()) << commit.value;
  }
}

TEST_F(HostileSizes, LogRecordThatGrowsWithoutPagesIsNotReplayed) {
  const std::string directory = data_.file("log");
  SystemClock clock;
  auto opened = log::Log::open(files_, clock, directory, DatabaseId{5}, {}, {}, Txid{});
  ASSERT_TRUE(opened);
  const Checksum post = Checksum::empty().toggled(ltx::page_checksum(Pgno{1}, Buffer(512, 7)));
  // A snapshot would have to be complete: the lie is in the second record.
  const Buffer first = lie(512, Pgno{1}, {}, post);
  const Buffer second = lie(512, kHuge, {Epoch{1}, Txid{1}, post}, post);
  log::NewRecord record;
  record.epoch = Epoch{1};
  record.page_size = 512;
  record.timestamp_ms = 1;
  record.min_txid = record.max_txid = Txid{1};
  record.pre = Checksum::empty();
  record.post = post;
  record.commit = Pgno{1};
  ASSERT_TRUE(opened->log->append(record, first));
  record.min_txid = record.max_txid = Txid{2};
  record.pre = post;
  record.commit = kHuge;
  ASSERT_TRUE(opened->log->append(record, second));
  auto target = files_.open_unnamed(data_.file(""), "test");
  ASSERT_TRUE(target);
  Content content;
  MemoryLimit limit(kMemory);
  auto replayed = replay(files_, directory, DatabaseId{5}, Position{}, Txid{2}, **target, content);
  ASSERT_FALSE(replayed);
  EXPECT_EQ(replayed.error().code, ErrorCode::kCorrupt);
  EXPECT_LE((*target)->size("test").value(), 512U);
}

TEST_F(HostileSizes, PageChecksumFileThatIsLargerThanItSaysIsNotRead) {
  Content content(Position{Epoch{3}, Txid{7}, {}}, 4096, {Checksum::kFlag | 11, Checksum::kFlag | 22});
  content = Content({Epoch{3}, Txid{7}, content.sum()}, 4096, content.sums());
  ASSERT_TRUE(save_base(files_, data_.file(""), content.position(), content));
  ASSERT_EQ(::truncate(data_.file("pages-0000000000000007.crc").c_str(), std::int64_t{1} << 35), 0);
  MemoryLimit limit(kMemory);
  auto loaded = load_base(files_, data_.file(""));
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(loaded.error().message.find("pages-0000000000000007.crc"), std::string::npos);
}

}  // namespace
}  // namespace rillfs::test
