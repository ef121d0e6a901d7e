// Goal: a log whose sync met no room is as good as before once there is some, and never says that something
// is durable that may be lost. Method: syncs that fail, and what the kernel may do to the pages afterwards.
#include "log_fixture.h"

namespace rillfs::log {

class LogMend : public LogTest {
 protected:
  void fail_a_sync(int errno_value) {
    files.fail_nth(0, errno_value, "log: sync");
    ASSERT_FALSE(log->sync());
    ASSERT_FALSE(try_append());
  }
  std::string last_segment() const { return contents().rbegin()->first; }
};

TEST_F(LogMend, AfterNoRoomWritesAgainWhatMayBeLostAndGoesOn) {
  for (int errno_value : {ENOSPC, EDQUOT}) {
    open();
    append(2);
    ASSERT_TRUE(log->sync());
    append(3);
    const LogState end = log->end();
    fail_a_sync(errno_value);
    EXPECT_TRUE(log->can_be_mended());
    auto mended = log->mend();
    ASSERT_TRUE(mended) << mended.error().message;
    EXPECT_FALSE(log->can_be_mended());
    EXPECT_EQ(log->synced_txid(), end.position.txid);
    append(1);
    ASSERT_TRUE(log->sync());
    const Txid last = log->end().position.txid;
    open();
    EXPECT_EQ(read_all(last), last.value);
  }
}

TEST_F(LogMend, StillWithoutRoomIsTriedAgain) {
  open();
  append(2);
  fail_a_sync(ENOSPC);
  for (int nth : {0, 1}) {  // the write, and the sync
    files.fail_nth(nth, ENOSPC, "log: mend");
    EXPECT_EQ(log->mend().error().code, ErrorCode::kNoSpace);
    EXPECT_FALSE(try_append());
  }
  ASSERT_TRUE(log->mend());
  append(1);
}

TEST_F(LogMend, IsNotForAnyOtherError) {
  open();
  append(2);
  fail_a_sync(EIO);
  EXPECT_FALSE(log->can_be_mended());
  EXPECT_EQ(log->mend().error().code, ErrorCode::kIo);
  open();
  append(1);
  fail_a_sync(ENOSPC);
  files.fail_nth(0, EIO, "log: mend");
  EXPECT_EQ(log->mend().error().code, ErrorCode::kIo);
  EXPECT_FALSE(log->mend()) << "and never again";
  EXPECT_FALSE(try_append());
}

// What the kernel dropped is what is on the disk: something else.
TEST_F(LogMend, RefusesWhatCannotBeReadBackAtEveryByte) {
  for (std::uint64_t at = 0;; ++at) {
    std::filesystem::remove_all(directory);
    database = TinyDatabase();
    open();
    append(1);
    ASSERT_TRUE(log->sync());
    const std::uint64_t synced = log->bytes_on_disk();
    append(1);
    if (synced + at == log->bytes_on_disk()) break;
    fail_a_sync(ENOSPC);
    std::fstream file(last_segment(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(synced + at));
    const int byte = file.get();
    file.seekp(static_cast<std::streamoff>(synced + at));
    file.put(static_cast<char>(byte ^ 1));
    file.close();
    // (Padding belongs to no checksum, and a compressed page may be written in several ways.)
    if (log->mend()) {
      EXPECT_EQ(read_all(Txid{2}), 2u) << at;
      EXPECT_GT(at, kEnvelopeSize + 100);
    } else {
      EXPECT_FALSE(log->can_be_mended()) << at;
      EXPECT_FALSE(try_append());
    }
    if (HasFailure()) return;
  }
}

TEST_F(LogMend, AnOlderRecordInTheSamePlaceIsNotTakenForTheOneThatIsLost) {
  open();
  append(1);
  ASSERT_TRUE(log->sync());
  ASSERT_TRUE(try_append(5));
  const std::string path = last_segment();
  const std::string older = contents().at(path);  // reached the disk, and was taken back
  ASSERT_TRUE(log->cut_last());
  database = TinyDatabase();
  database.accept(database.change(0));
  ASSERT_TRUE(try_append(9));
  fail_a_sync(ENOSPC);
  std::fstream(path, std::ios::in | std::ios::out | std::ios::binary).write(older.data(), older.size());
  EXPECT_FALSE(log->mend());
}

TEST_F(LogMend, ARecordThatWasTakenBackIsNotWrittenAgain) {
  open();
  append(1);
  ASSERT_TRUE(log->sync());
  const LogState before = log->end();
  append(1);
  files.fail_nth(0, ENOSPC, "log: sync");
  ASSERT_FALSE(log->sync());
  ASSERT_TRUE(log->cut_last());
  ASSERT_TRUE(log->mend());
  EXPECT_EQ(log->end(), before);
  database = TinyDatabase();
  database.accept(database.change(0));
  append(1);
  open();
  EXPECT_EQ(read_all(Txid{2}), 2u);
}

TEST_F(LogMend, OfASegmentThatWasNeverSyncedHasItsHeaderToo) {
  options.segment_size_max = 1;
  open();
  append(3);
  fail_a_sync(ENOSPC);
  ASSERT_TRUE(log->mend());
  append(2);
  open();
  EXPECT_EQ(read_all(Txid{5}), 5u);
}

}  // namespace rillfs::log
