// Goal: ltx verify accepts exactly what is intact, and extract gives back the images byte for byte. Method: a
// real segment written by the log, then every kind of damage.
#include "cmd/ltx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "replication/log/log.h"
#include "replication/ltx/encoder.h"
#include "temporary_directory.h"

namespace rillfs::cmd {
namespace {

using testing::HasSubstr;

std::string content_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class LtxCommand : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = log::Log::open(files, clock, directory / "log", DatabaseId{5}, {}, {}, Txid{0});
    ASSERT_TRUE(opened) << opened.error().message;
    Checksum sum = Checksum::empty();
    for (std::uint64_t txid = 1; txid <= 3; ++txid) {
      Buffer page(512, static_cast<std::uint8_t>(txid));
      Checksum post = Checksum::empty().toggled(ltx::page_checksum(Pgno{1}, page));
      ltx::Header header{.page_size = 512, .commit = Pgno{1}, .min_txid = Txid{txid}, .max_txid = Txid{txid}};
      if (txid > 1) header.pre_apply = sum;
      Buffer image;
      BufferSink sink(image);
      ltx::Encoder encoder(sink);
      encoder.begin(header).value();
      encoder.page(Pgno{1}, page).value();
      encoder.finish(post).value();
      log::NewRecord record{.epoch = Epoch{1},
                            .min_txid = Txid{txid},
                            .max_txid = Txid{txid},
                            .pre = sum,
                            .post = post,
                            .commit = Pgno{1},
                            .page_size = 512};
      record.hash.add(Pgno{1}, page);
      auto appended = opened->log->append(record, image);
      ASSERT_TRUE(appended) << appended.error().message;
      images.emplace_back(image.begin(), image.end());
      sum = post;
    }
    segment = directory / "log/0000000000000001.seg";
  }
  void write(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  TemporaryDirectory directory;
  PosixFileSystem files;
  SystemClock clock;
  std::string segment;
  std::vector<std::string> images;
  std::ostringstream out;
};

TEST_F(LtxCommand, VerifyAcceptsSegmentsAndFiles) {
  write(directory / "one.ltx", images[1]);
  EXPECT_EQ(run_ltx_verify({segment, directory / "one.ltx"}, out), 0);
  EXPECT_EQ(out.str(), segment + ": ok\n" + (directory / "one.ltx") + ": ok\n");
}

TEST_F(LtxCommand, VerifyNoticesEveryChangedByte) {
  std::size_t padding = 0;
  for (const std::string& original : {content_of(segment), images[1]}) {
    for (std::size_t at = 0; at < original.size(); ++at) {
      std::string damaged = original;
      damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
      write(directory / "x", damaged);
      // Only the zeroes that fill a record up to 8 bytes belong to nothing.
      bool accepted = run_ltx_verify({directory / "x"}, out) == 0;
      EXPECT_TRUE(!accepted || (original != images[1] && original[at] == 0)) << at;
      padding += accepted ? 1 : 0;
    }
  }
  EXPECT_LT(padding, 3u * 8);
}

TEST_F(LtxCommand, VerifyNoticesEveryTruncation) {
  std::string whole = content_of(segment);
  std::size_t first = log::kSegmentHeaderSize, intact = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write(directory / "x", whole.substr(0, size));
    if (run_ltx_verify({directory / "x"}, out) == 0) ++intact;
  }
  EXPECT_GT(whole.size(), first);
  EXPECT_EQ(intact, 3u);  // cut after the header, and after the first and second record
}

TEST_F(LtxCommand, VerifySaysWhatIsWrongAndGoesOn) {
  write(directory / "bad.ltx", "hello");
  EXPECT_EQ(run_ltx_verify({directory / "bad.ltx", directory / "none", segment}, out), 1);
  EXPECT_THAT(out.str(), HasSubstr(segment + ": ok"));
  EXPECT_EQ(
      std::count(std::istreambuf_iterator<char>(*std::make_unique<std::istringstream>(out.str())), {}, '\n'),
      3);
}

TEST_F(LtxCommand, ListShowsEveryChangeSet) {
  EXPECT_EQ(run_ltx_list({segment}, ListFormat::kJson, out), 0);
  auto rows = nlohmann::json::parse(out.str());
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[2]["min_txid"], 3);
  EXPECT_EQ(rows[2]["epoch"], 1);
  EXPECT_EQ(rows[0]["snapshot"], true);
  out.str("");
  EXPECT_EQ(run_ltx_list({segment}, ListFormat::kTsv, out), 0);
  EXPECT_THAT(out.str(), testing::StartsWith("file\tmin_txid\tmax_txid\t"));
  out.str("");
  EXPECT_EQ(run_ltx_list({segment}, ListFormat::kTable, out), 0);
  EXPECT_THAT(out.str(), HasSubstr("0000000000000003"));
}

TEST_F(LtxCommand, DumpShowsHeaderPagesAndTrailer) {
  EXPECT_EQ(run_ltx_dump({segment}, true, out), 0);
  for (const char* part :
       {"txid          0000000000000002-0000000000000002", "pages\n    1\n", "00000  02 02", "trailer"})
    EXPECT_THAT(out.str(), HasSubstr(part));
}

TEST_F(LtxCommand, ExtractGivesTheImagesTheirNames) {
  std::string to = directory / "out";
  EXPECT_EQ(run_ltx_extract({segment}, to, out), 0);
  EXPECT_EQ(content_of(to + "/0000000000000001-0000000000000001.ltx"), images[0]);
  EXPECT_EQ(content_of(to + "/0000000000000003-0000000000000003.ltx"), images[2]);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(to), {}), 3);
  EXPECT_EQ(run_ltx_extract({segment}, to, out), 1);  // never over existing files
}

}  // namespace
}  // namespace rillfs::cmd
