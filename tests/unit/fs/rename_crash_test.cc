// Goal: whatever is renamed and wherever the node is killed, each database keeps its identity and its log,
// and goes by the name that its file has. Method: a primary's tree without a kernel; every call that changes
// the data directory is the last one once, and so is every call of the start after it.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/stat.h>

#include <map>

#include "fs/mount/tree.h"
#include "unit/fs/captured_sqlite.h"
#include "unit/support/faulty_file_system.h"

namespace rillfs::test {
namespace {

namespace fs = std::filesystem;
using Ids = std::map<std::string, DatabaseId>;

std::unique_ptr<mount::Tree> tree_of(Primary& primary) {
  const int root = ::open(primary.tree().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  static mount::Passthrough nothing;
  return std::move(mount::Tree::open(primary.databases(), nothing, root).value());
}

/// The directory's number and the name in it.
std::pair<std::uint64_t, std::string> place(mount::Tree& tree, const std::string& path) {
  const auto slash = path.find('/');
  if (slash == std::string::npos) return {kRootInode, path};
  return {tree.look_up(kRootInode, path.substr(0, slash)).value().id, path.substr(slash + 1)};
}

Result<void> rename(mount::Tree& tree, const std::string& from, const std::string& to, unsigned flags = 0) {
  const auto [parent, name] = place(tree, from);
  const auto [new_parent, new_name] = place(tree, to);
  return tree.rename(parent, name, new_parent, new_name, flags, {});
}

void make_database(CapturingVfs& vfs, const std::string& name, const std::string& mark) {
  Sqlite db(vfs.uri(name));
  db.run("CREATE TABLE t(mark)");
  db.run("INSERT INTO t VALUES('" + mark + "')");
}

/// a.db, b.db, d/one.db, d/two.db, d/sub.db, empty directories `other` and `spare`, and the plain file
/// `plain`.
Ids prepare(const std::string& data) {
  PosixFileSystem files;
  FaultyFileSystem sound(files);
  Primary primary(sound, data);
  EXPECT_TRUE(primary.start());
  auto tree = tree_of(primary);
  CapturingVfs vfs(primary);
  Ids ids;
  EXPECT_TRUE(tree->make_directory(kRootInode, "d", 0755, {}));
  EXPECT_TRUE(tree->make_directory(kRootInode, "other", 0755, {}));
  EXPECT_TRUE(tree->make_directory(kRootInode, "spare", 0755, {}));
  for (const char* mark : {"a", "b", "one", "two", "sub"}) {
    const std::string name = std::string(mark) + ".db";
    make_database(vfs, name, mark);
    ids[mark] = primary.database(name)->id();
    if (ids.size() > 2) {
      EXPECT_TRUE(rename(*tree, name, "d/" + name));
    }
  }
  std::ofstream(primary.tree() + "/plain") << "not a database";
  return ids;
}

struct Scenario {
  std::string name, from, to;
  std::map<std::string, std::string> before, after;  ///< mark to path; gone if it is not there
};

std::ostream& operator<<(std::ostream& out, const Scenario& scenario) { return out << scenario.name; }

const std::map<std::string, std::string> kPrepared = {
    {"a", "a.db"}, {"b", "b.db"}, {"one", "d/one.db"}, {"two", "d/two.db"}, {"sub", "d/sub.db"}};

Scenario scenario(const std::string& name, const std::string& from, const std::string& to,
                  const std::map<std::string, std::string>& changes) {
  Scenario made{name, from, to, kPrepared, kPrepared};
  for (const auto& [mark, path] : changes) {
    if (path.empty()) {
      made.after.erase(mark);
    } else {
      made.after[mark] = path;
    }
  }
  return made;
}

/// The rename took place or it did not; either way all of it.
void expect_in_line(Primary& primary, const Ids& ids, const Scenario& scenario) {
  const bool renamed =
      fs::exists(primary.tree() + "/" + scenario.to) && !fs::exists(primary.tree() + "/" + scenario.from);
  const auto& expected = renamed ? scenario.after : scenario.before;
  EXPECT_EQ(primary.databases().all().size(), expected.size());
  for (const auto& [mark, path] : expected) {
    auto database = primary.databases().find_by_id(ids.at(mark));
    ASSERT_TRUE(database) << mark << " has lost its identity";
    EXPECT_EQ(database->path(), path);
    EXPECT_EQ(Sqlite(primary.tree() + "/" + path).text("SELECT mark FROM t"), mark);
  }
  EXPECT_TRUE(fs::is_empty(primary.environment().parked_directory()));
  std::size_t kept = 0;
  for (const auto& entry : fs::directory_iterator(primary.environment().databases_directory())) {
    if (entry.path().filename() == "dropped") continue;
    EXPECT_TRUE(entry.is_directory()) << entry.path() << " is left";
    ++kept;
  }
  EXPECT_EQ(kept, expected.size());
}

class RenameKilledEverywhere : public ::testing::TestWithParam<Scenario> {
 protected:
  RenameKilledEverywhere() { ids_ = prepare(prepared_.file("data")); }
  void fresh_copy() {
    fs::remove_all(work_.file("data"));
    fs::copy(prepared_.file("data"), work_.file("data"), fs::copy_options::recursive);
  }
  /// The rename with the `n`-th call as its last. False: there is no such call.
  bool killed_at(int n) {
    FaultyFileSystem faulty(files_);
    Primary primary(faulty, work_.file("data"));
    EXPECT_TRUE(primary.start());
    auto tree = tree_of(primary);
    faulty.die_at(n);
    auto renamed = rename(*tree, GetParam().from, GetParam().to);
    EXPECT_TRUE(renamed || faulty.fired()) << renamed.error().message;
    return faulty.fired();
  }
  bool recorded() const { return fs::exists(work_.file("data/dbs/rename.json")); }
  void expect_in_line_after_start() {
    FaultyFileSystem sound(files_);  // does not wait for the disk
    Primary again(sound, work_.file("data"));
    auto started = again.start();
    ASSERT_TRUE(started) << started.error().message;
    expect_in_line(again, ids_, GetParam());
  }

  PosixFileSystem files_;
  TemporaryDirectory prepared_, work_;
  Ids ids_;
};

TEST_P(RenameKilledEverywhere, DatabasesGoByTheNameOfTheirFile) {
  int n = 0;
  for (bool killed = true; killed && !HasFailure(); ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    fresh_copy();
    killed = killed_at(n);
    expect_in_line_after_start();
  }
  EXPECT_GT(n, 1) << "nothing was killed";
}

TEST_P(RenameKilledEverywhere, AlsoWhenTheStartIsKilledAgain) {
  // Killed right after the rename in the tree, when the start has the most to do.
  int last = 0;
  for (bool renamed = false; !renamed; ++last) {
    fresh_copy();
    ASSERT_TRUE(killed_at(last));
    renamed = !fs::exists(work_.file("data/tree/" + GetParam().from));
  }
  int m = 0;
  for (bool settled = false; !settled && !HasFailure(); ++m) {
    SCOPED_TRACE("call " + std::to_string(m) + " of the start");
    fresh_copy();
    ASSERT_TRUE(killed_at(last - 1));
    ASSERT_TRUE(recorded());
    {
      FaultyFileSystem faulty(files_);
      Primary dying(faulty, work_.file("data"));
      faulty.die_at(m);
      (void)dying.start();
      settled = !recorded();  // what follows is a start like any other
    }
    expect_in_line_after_start();
  }
  EXPECT_GT(m, 4) << "nothing was left to settle";
}

TEST_P(RenameKilledEverywhere, NoRoomOnceRefusesItOrIsMadeUpFor) {
  bool fired = true;
  for (int n = 0; fired && !HasFailure(); ++n) {
    SCOPED_TRACE("call " + std::to_string(n));
    fresh_copy();
    {
      FaultyFileSystem faulty(files_);
      Primary primary(faulty, work_.file("data"));
      ASSERT_TRUE(primary.start());
      auto tree = tree_of(primary);
      faulty.fail_nth(n, ENOSPC);
      auto renamed = rename(*tree, GetParam().from, GetParam().to);
      fired = faulty.fired();
      faulty.stop_failing();
      EXPECT_EQ(renamed.has_value(), !fs::exists(primary.tree() + "/" + GetParam().from));
      // The next one works, of whatever it is, and settles what the first one left.
      EXPECT_TRUE(rename(*tree, "spare", "spare2"));
      expect_in_line(primary, ids_, GetParam());
    }
    expect_in_line_after_start();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Rename, RenameKilledEverywhere,
    ::testing::Values(
        scenario("ToAFreeName", "a.db", "c.db", {{"a", "c.db"}}),
        scenario("OverADatabase", "a.db", "b.db", {{"a", "b.db"}, {"b", ""}}),
        scenario("OverADatabaseElsewhere", "a.db", "d/one.db", {{"a", "d/one.db"}, {"one", ""}}),
        scenario("OfAPlainFileOverADatabase", "plain", "b.db", {{"b", ""}}),
        scenario("ToAnotherDirectory", "a.db", "other/x.db", {{"a", "other/x.db"}}),
        scenario("ToANameThatLooksLikeACompanion", "a.db", "q-wal", {{"a", "q-wal"}}),
        scenario("OfADirectory", "d", "e", {{"one", "e/one.db"}, {"two", "e/two.db"}, {"sub", "e/sub.db"}}),
        scenario("OfADirectoryOverAnEmptyOne", "d", "other",
                 {{"one", "other/one.db"}, {"two", "other/two.db"}, {"sub", "other/sub.db"}})),
    [](const auto& info) { return info.param.name; });

class RenameRecordTest : public ::testing::Test {
 protected:
  RenameRecordTest() : ids_(prepare(data_.file("data"))) {}
  RenameRecord record(const std::string& from, const std::string& to, std::uint64_t inode) {
    struct stat tree {};
    ::stat(data_.file("data/tree").c_str(), &tree);
    return {from, to, inode, tree.st_ino, {ids_.at("a")}, ids_.at("b")};
  }
  std::uint64_t inode(const std::string& path) {
    struct stat status {};
    ::stat(data_.file("data/tree/" + path).c_str(), &status);
    return status.st_ino;
  }
  void save(const RenameRecord& record) {
    ASSERT_TRUE(save_rename_record(files_, data_.file("data/dbs"), record));
  }
  PosixFileSystem files_;
  TemporaryDirectory data_;
  Ids ids_;
};

TEST_F(RenameRecordTest, OfARenameThatWasNotMadeChangesNothing) {
  save(record("a.db", "b.db", inode("a.db")));
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  expect_in_line(primary, ids_, scenario("", "a.db", "b.db", {}));
}

TEST_F(RenameRecordTest, DoesNotTakeAnotherFileForTheRenamedOne) {
  save(record("gone.db", "b.db", inode("b.db") + 1000000));
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  expect_in_line(primary, ids_, scenario("", "gone.db", "b.db", {}));
}

TEST_F(RenameRecordTest, ThatIsDamagedStopsTheStartAndSaysWhatToDo) {
  for (const char* text : {"", "{", "[]", "{\"from_hex\": 1}", "{\"from_hex\": \"61\", \"to_hex\": \"6\"}",
                           "{\"from_hex\": \"61\", \"to_hex\": \"62\", \"inode\": 1, \"tree_inode\": 1, "
                           "\"moved\": [3]}"}) {
    std::ofstream(data_.file("data/dbs/rename.json")) << text;
    Primary primary(files_, data_.file("data"));
    auto started = primary.start();
    ASSERT_FALSE(started) << text;
    EXPECT_EQ(started.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(started.error().message.find("dbs/rename.json"), std::string::npos);
  }
}

TEST_F(RenameRecordTest, OfAPlainRenameIsNotWritten) {
  FaultyFileSystem faulty(files_);
  Primary primary(faulty, data_.file("data"));
  ASSERT_TRUE(primary.start());
  auto tree = tree_of(primary);
  const int before = faulty.sync_count();
  EXPECT_TRUE(rename(*tree, "plain", "plain2"));
  EXPECT_TRUE(rename(*tree, "other", "other2"));
  EXPECT_EQ(faulty.sync_count(), before);
}

TEST_F(RenameRecordTest, FailedAndRefusedRenamesLeaveNone) {
  Primary primary(files_, data_.file("data"));
  ASSERT_TRUE(primary.start());
  auto tree = tree_of(primary);
  EXPECT_EQ(rename(*tree, "a.db", "b.db", RENAME_NOREPLACE).error().errno_value, EEXIST);
  EXPECT_EQ(rename(*tree, "d", "other", RENAME_EXCHANGE).error().errno_value, EINVAL);
  EXPECT_EQ(rename(*tree, "other", "d", RENAME_EXCHANGE).error().errno_value, EINVAL);
  EXPECT_EQ(rename(*tree, "a.db", "b.db", RENAME_EXCHANGE).error().errno_value, EINVAL);
  EXPECT_TRUE(rename(*tree, "other", "spare", RENAME_EXCHANGE));
  expect_in_line(primary, ids_, scenario("", "a.db", "b.db", {}));
}

}  // namespace
}  // namespace rillfs::test
