// Goal: the file-system seam does what its header says on a real directory, and small files are replaced
// whole or not at all. Method: PosixFileSystem in a temporary directory; for replace_file every call fails
// once.
#include "replication/base/file_system.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "unit/support/faulty_file_system.h"
#include "unit/support/temporary_directory.h"

namespace rillfs {
namespace {

constexpr Label kLabel = "test step";

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string text_of(const Buffer& bytes) { return {bytes.begin(), bytes.end()}; }

class FileSystemTest : public testing::Test {
 protected:
  std::string path(const std::string& name) const { return directory_.path() + "/" + name; }
  void put(const std::string& name, std::string_view text) {
    auto file = files_.open(path(name), OpenMode::kCreate, kLabel);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(bytes_of(text), 0, kLabel));
  }
  std::string get(const std::string& name) {
    auto content = read_file(files_, path(name), 1 << 20, kLabel);
    return content ? text_of(*content) : "error: " + content.error().message;
  }

  test::TemporaryDirectory directory_;
  PosixFileSystem files_;
};

TEST_F(FileSystemTest, OpensAsTheModeSays) {
  for (OpenMode mode : {OpenMode::kRead, OpenMode::kReadWrite}) {
    auto missing = files_.open(path("a"), mode, kLabel);
    ASSERT_FALSE(missing);
    EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  }
  ASSERT_TRUE(files_.open(path("a"), OpenMode::kCreateNew, kLabel));
  EXPECT_FALSE(files_.open(path("a"), OpenMode::kCreateNew, kLabel));
  put("a", "kept");
  ASSERT_TRUE(files_.open(path("a"), OpenMode::kCreate, kLabel));
  EXPECT_EQ(get("a"), "kept");
  auto reader = files_.open(path("a"), OpenMode::kRead, kLabel);
  EXPECT_FALSE((*reader)->write_at(bytes_of("x"), 0, kLabel));
}

TEST_F(FileSystemTest, ReadsUpToTheEndOfTheFileAndSaysWhatIsMissing) {
  put("a", "hello");
  auto file = *files_.open(path("a"), OpenMode::kReadWrite, kLabel);
  Buffer into(10);
  EXPECT_EQ(*file->read_at(into, 0, kLabel), 5U);
  EXPECT_EQ(*file->read_at(into, 3, kLabel), 2U);
  EXPECT_EQ(*file->read_at(into, 5, kLabel), 0U);
  EXPECT_EQ(*file->read_at(into, 1 << 20, kLabel), 0U);
  EXPECT_EQ(*file->read_at({}, 0, kLabel), 0U);
  EXPECT_TRUE(file->read_exact_at(MutableBytes(into).first(2), 3, kLabel));
  auto short_read = file->read_exact_at(into, 0, kLabel);
  ASSERT_FALSE(short_read);
  EXPECT_EQ(short_read.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(short_read.error().message.find("ends at 5, 5 bytes missing"), std::string::npos)
      << short_read.error().message;
}

TEST_F(FileSystemTest, WritesBeyondTheEndLeaveZeros) {
  auto file = *files_.open(path("a"), OpenMode::kCreate, kLabel);
  ASSERT_TRUE(file->write_at(bytes_of("x"), 3, kLabel));
  EXPECT_EQ(get("a"), std::string("\0\0\0x", 4));
  ASSERT_TRUE(file->truncate(6, kLabel));
  EXPECT_EQ(*file->size(kLabel), 6U);
  ASSERT_TRUE(file->truncate(1, kLabel));
  EXPECT_EQ(get("a"), std::string("\0", 1));
  EXPECT_TRUE(file->sync_data(kLabel));
}

TEST_F(FileSystemTest, ErrorsNameTheStepAndTheFile) {
  auto missing = files_.open(path("none/a"), OpenMode::kCreate, kLabel);
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("test step"), std::string::npos);
  EXPECT_NE(missing.error().message.find(path("none/a")), std::string::npos);
  EXPECT_EQ(files_.remove(path("none"), kLabel).error().code, ErrorCode::kNotFound);
  EXPECT_FALSE(files_.rename(path("none"), path("other"), kLabel));
  EXPECT_FALSE(files_.list(path("none"), kLabel));
  EXPECT_FALSE(files_.sync_directory(path("none"), kLabel));
}

TEST_F(FileSystemTest, AnUnnamedFileHasNoNameAndCanBeUsed) {
  {
    auto file = files_.open_unnamed(directory_.path(), kLabel);
    ASSERT_TRUE(file);
    ASSERT_TRUE((*file)->write_at(bytes_of("secret"), 0, kLabel));
    Buffer into(6);
    ASSERT_TRUE((*file)->read_exact_at(into, 0, kLabel));
    EXPECT_EQ(text_of(into), "secret");
    EXPECT_TRUE(files_.list(directory_.path(), kLabel)->empty());
  }
  EXPECT_FALSE(files_.open_unnamed(path("none"), kLabel));
}

TEST_F(FileSystemTest, MakesDirectoriesWithTheirParentsOnceOrAgain) {
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(files_.make_directories(path("a/b/c"), kLabel));
  EXPECT_TRUE(*files_.exists(path("a/b/c"), kLabel));
  put("file", "");
  EXPECT_FALSE(files_.make_directories(path("file/below"), kLabel));
}

TEST_F(FileSystemTest, AFileInTheWayOfADirectoryIsAnError) {
  put("file", "");
  EXPECT_FALSE(files_.make_directories(path("file"), kLabel));
}

TEST_F(FileSystemTest, ListsWhatIsThereAndWhatIsADirectory) {
  put("file", "");
  ASSERT_TRUE(files_.make_directories(path("directory"), kLabel));
  ASSERT_EQ(::symlink("directory", path("link").c_str()), 0);
  auto entries = *files_.list(directory_.path(), kLabel);
  std::sort(entries.begin(), entries.end(), [](auto& a, auto& b) { return a.name < b.name; });
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].name, "directory");
  EXPECT_TRUE(entries[0].is_directory);
  EXPECT_FALSE(entries[1].is_directory);
  EXPECT_FALSE(entries[2].is_directory) << "a link is never walked into";
}

TEST_F(FileSystemTest, KnowsWhatExistsAlsoWhereItLeadsNowhere) {
  put("file", "");
  ASSERT_EQ(::symlink("nowhere", path("link").c_str()), 0);
  EXPECT_TRUE(*files_.exists(path("file"), kLabel));
  EXPECT_TRUE(*files_.exists(path("link"), kLabel));
  EXPECT_FALSE(*files_.exists(path("none"), kLabel));
  EXPECT_FALSE(*files_.exists(path("file/below"), kLabel));
}

TEST_F(FileSystemTest, RemovesATreeButNothingThatALinkLeadsTo) {
  ASSERT_TRUE(files_.make_directories(path("tree/a/b"), kLabel));
  ASSERT_TRUE(files_.make_directories(path("outside"), kLabel));
  put("tree/a/file", "x");
  put("outside/kept", "x");
  ASSERT_EQ(::symlink("../outside", path("tree/link").c_str()), 0);
  EXPECT_FALSE(files_.remove(path("tree"), kLabel)) << "not while something is in it";
  ASSERT_TRUE(remove_tree(files_, path("tree"), kLabel));
  EXPECT_FALSE(*files_.exists(path("tree"), kLabel));
  EXPECT_EQ(get("outside/kept"), "x");
}

TEST_F(FileSystemTest, ReadsASmallFileWholeAndRefusesALargeOne) {
  put("a", "12345");
  EXPECT_EQ(text_of(*read_file(files_, path("a"), 5, kLabel)), "12345");
  auto large = read_file(files_, path("a"), 4, kLabel);
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::kInvalid);
  put("empty", "");
  EXPECT_TRUE(read_file(files_, path("empty"), 0, kLabel)->empty());
}

TEST_F(FileSystemTest, AReplacedFileIsTheOldOrTheNewOneWhicheverCallFails) {
  test::FaultyFileSystem faulty(files_);
  const std::string old_text(300, 'o');
  const std::string new_text = "new";
  for (int nth = 0;; ++nth) {
    SCOPED_TRACE(nth);
    ASSERT_TRUE(replace_file(files_, path("a"), bytes_of(old_text), kLabel));
    put("a.tmp", std::string(500, 'x'));  // left behind by a crash
    faulty.fail_nth(nth, ENOSPC);
    auto replaced = replace_file(faulty, path("a"), bytes_of(new_text), kLabel);
    EXPECT_NE(replaced.has_value(), faulty.fired());
    const std::string now = get("a");
    EXPECT_TRUE(now == new_text || (!replaced && now == old_text)) << now;
    if (!faulty.fired()) {
      EXPECT_EQ(now, new_text);
      EXPECT_GT(nth, 4) << "create, cut, write, sync, rename, sync of the directory";
      return;
    }
  }
}

TEST_F(FileSystemTest, AFileIsNotUsedFromAnotherDescriptorTable) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  put("a", "x");
  EXPECT_DEATH(
      {
        auto file = *files_.open(path("a"), OpenMode::kRead, kLabel);
        enter_descriptor_table(1);
        (void)file->size(kLabel);
      },
      "was opened in descriptor table 0 and used in 1");
  EXPECT_EQ(descriptor_table(), 0);
  std::thread([] {
    enter_descriptor_table(1);
    std::thread([] { EXPECT_EQ(descriptor_table(), 0) << "inherited by no thread"; }).join();
    EXPECT_EQ(descriptor_table(), 1);
  }).join();
}

}  // namespace
}  // namespace rillfs
