// A log in a temporary directory, and a tiny database whose transactions fill it.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "replication/log/log.h"
#include "replication/log/reader.h"
#include "replication/ltx/decoder.h"
#include "replication/ltx/encoder.h"
#include "unit/support/faulty_file_system.h"
#include "unit/support/temporary_directory.h"
#include "unit/support/vectors.h"

namespace rillfs::log {

inline constexpr DatabaseId kDatabase{0x1234};

struct ManualClock final : Clock {
  std::int64_t now_ms = 1000;
  Monotonic monotonic() const override { return {}; }
  std::int64_t wall_ms() const override { return now_ms; }
};

struct Change {
  NewRecord record;
  Buffer image;
};

/// Transaction n replaces page 1 of a one-page database by bytes that follow from n and `salt`.
class TinyDatabase {
 public:
  explicit TinyDatabase(std::uint32_t page_size = 512) : page_size_(page_size) {}

  Change change(int salt = 0, std::uint32_t flags = 0) {
    Buffer page(page_size_);
    for (std::size_t i = 0; i < page.size(); ++i) {
      page[i] = static_cast<std::uint8_t>((txid_.value + 1) * 31 + i * static_cast<std::size_t>(salt + 7));
    }
    Change made;
    NewRecord& record = made.record;
    record.flags = flags;
    record.epoch = epoch;
    record.min_txid = record.max_txid = txid_.next();
    record.pre = sum_;
    record.post = Checksum::empty().toggled(ltx::page_checksum(Pgno{1}, page));
    record.hash.add(Pgno{1}, page);
    record.commit = Pgno{1};
    record.page_size = page_size_;
    record.timestamp_ms = timestamp_ms;
    ltx::Header header{.page_size = page_size_,
                       .commit = Pgno{1},
                       .min_txid = record.min_txid,
                       .max_txid = record.max_txid,
                       .timestamp_ms = timestamp_ms};
    if (!header.is_snapshot()) header.pre_apply = sum_;
    BufferSink sink(made.image);
    ltx::Encoder encoder(sink);
    EXPECT_TRUE(encoder.begin(header));
    EXPECT_TRUE(encoder.page(Pgno{1}, page));
    EXPECT_TRUE(encoder.finish(record.post));
    return made;
  }
  /// The change has become part of the database.
  void accept(const Change& made) { txid_ = made.record.max_txid, sum_ = made.record.post; }
  void move_to(Txid txid, Checksum sum) { txid_ = txid, sum_ = sum; }

  Epoch epoch{1};
  std::int64_t timestamp_ms = 500;

 private:
  std::uint32_t page_size_;
  Txid txid_;
  Checksum sum_ = Checksum::empty();
};

class LogTest : public ::testing::Test {
 protected:
  Result<Opened> try_open(Txid verify_from = {}) {
    log.reset();
    return Log::open(files, clock, directory, kDatabase, {}, options, verify_from);
  }
  std::uint64_t open(Txid verify_from = {}) {
    auto opened = try_open(verify_from);
    if (!opened) throw std::runtime_error(opened.error().message);
    log = std::move(opened->log);
    return opened->torn_bytes;
  }
  Result<RecordInfo> try_append(int salt = 0) {
    Change made = database.change(salt);
    auto info = log->append(made.record, made.image);
    if (info) database.accept(made);
    return info;
  }
  void append(int count) {
    for (int i = 0; i < count; ++i) {
      auto info = try_append(i);
      ASSERT_TRUE(info) << info.error().message;
    }
  }
  /// Every record of the log, each image decoded; the number of them.
  std::uint64_t read_all(Txid published) {
    auto reader = LogReader::open(files, directory, kDatabase, {});
    EXPECT_TRUE(reader) << reader.error().message;
    if (!reader) return 0;
    for (std::uint64_t count = 0;; ++count) {
      auto record = reader->next(published);
      EXPECT_TRUE(record) << record.error().message;
      if (!record || !*record) return count;
      auto source = reader->source();
      auto image = ltx::verify(source, ltx::Format::kV3Block);
      EXPECT_TRUE(image) << image.error().message;
      EXPECT_EQ(image->header.max_txid, (*record)->max_txid);
    }
  }
  std::string segment_path(std::uint64_t first) const { return directory + "/" + segment_name(Txid{first}); }
  /// Everything in the directory, to see that nothing was changed.
  std::map<std::string, std::string> contents() const {
    std::map<std::string, std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      std::ifstream in(entry.path(), std::ios::binary);
      all[entry.path()] = std::string(std::istreambuf_iterator<char>(in), {});
    }
    return all;
  }
  static void overwrite(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << content;
  }

  test::TemporaryDirectory temporary;
  PosixFileSystem posix;
  test::FaultyFileSystem files{posix};
  ManualClock clock;
  std::string directory = temporary.path() + "/log";
  LogOptions options;
  TinyDatabase database;
  std::unique_ptr<Log> log;
};

}  // namespace rillfs::log
