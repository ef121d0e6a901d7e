// Goal: names and attributes come back byte for byte, whatever the name is; a file that cannot be understood
// is an error, never an exception or another name. Method: round trips, and hostile info.json files.
#include "fs/database_info.h"

#include "unit/fs/sqlite_support.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

class DatabaseInfoFile : public testing::Test {
 protected:
  void put(const std::string& text) {
    write_all(directory_.file("info.json"),
              Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
  }
  Result<stream::DatabaseInfo> load() {
    return load_database_info(files_, directory_.file(""), DatabaseId{9});
  }
  static stream::DatabaseInfo info_of(std::string path) {
    return {DatabaseId{9}, std::move(path), 0640, 1000, 4294967295U};
  }

  TemporaryDirectory directory_;
  PosixFileSystem posix_;
  FaultyFileSystem files_{posix_};
};

TEST_F(DatabaseInfoFile, ComesBackAsItWasWhateverBytesTheNameHas) {
  std::string every_byte;
  for (int c = 1; c < 256; ++c) every_byte += static_cast<char>(c);
  for (const std::string& path : {std::string("app.db"), std::string("tenants/42/\xff\xfe.db"), every_byte,
                                  std::string("\"}, \"path_hex\": \"00"), std::string(4000, '\xe2')}) {
    ASSERT_TRUE(save_database_info(files_, directory_.file(""), info_of(path)));
    auto loaded = load();
    ASSERT_TRUE(loaded) << loaded.error().message;
    EXPECT_EQ(*loaded, info_of(path));
  }
}

TEST_F(DatabaseInfoFile, WithoutAttributesHasThoseOfAnyFile) {
  put(R"({"path": "lies", "path_hex": "612e6462"})");
  auto loaded = load();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->path, "a.db") << "the hex counts";
  EXPECT_EQ(loaded->mode, 0644U);
  EXPECT_EQ(loaded->uid, 0U);
}

TEST_F(DatabaseInfoFile, ThatCannotBeUnderstoodIsCorrupt) {
  for (const char* text :
       {"", "null", "[]", "{}", "{\"path\": \"a.db\"}", "{\"path_hex\": 7}", "{\"path_hex\": \"6\"}",
        "{\"path_hex\": \"6G\"}", "{\"path_hex\": \"6A\"}", "{\"path_hex\": \"61\"", "\xff\xfe",
        "{\"path_hex\": \"61\", \"mode\": \"rw\"}", "{\"path_hex\": \"61\", \"uid\": []}",
        "{\"path_hex\": \"61\", \"gid\": null}", "{\"path_hex\": \"61\", \"mode\": {}}",
        "{\"path_hex\": \"61\", \"mode\": -1}", "{\"path_hex\": \"61\", \"uid\": 4294967296}",
        "{\"path_hex\": \"61\", \"gid\": 1.5}"}) {
    put(text);
    Result<stream::DatabaseInfo> loaded = stream::DatabaseInfo{};
    EXPECT_NO_THROW(loaded = load()) << text;
    EXPECT_EQ(loaded ? ErrorCode::kIo : loaded.error().code, ErrorCode::kCorrupt) << text;
  }
}

TEST_F(DatabaseInfoFile, ThatIsMissingOrTooLargeIsAnError) {
  EXPECT_EQ(load().error().code, ErrorCode::kNotFound);
  put(std::string(70'000, ' '));
  EXPECT_EQ(load().error().code, ErrorCode::kInvalid);
}

TEST_F(DatabaseInfoFile, WhicheverCallFailsTheOldOrTheNewOneIsThere) {
  ASSERT_TRUE(save_database_info(files_, directory_.file(""), info_of("old.db")));
  for (int nth = 0;; ++nth) {
    files_.fail_nth(nth, ENOSPC);
    const bool saved = save_database_info(files_, directory_.file(""), info_of("new.db")).has_value();
    const bool fired = files_.fired();
    files_.stop_failing();
    auto loaded = load();
    ASSERT_TRUE(loaded) << nth;
    EXPECT_TRUE(loaded->path == "new.db" || (!saved && loaded->path == "old.db")) << nth;
    if (!fired) break;
    EXPECT_FALSE(saved) << nth;
  }
}

}  // namespace
}  // namespace rillfs::test
