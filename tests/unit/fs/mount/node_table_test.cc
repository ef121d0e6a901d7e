// Goal: the table holds a node exactly as long as the kernel holds references to it. Method: a real
// directory; lookups and forgets in the orders in which a kernel sends them, and in some that it never
// should.
#include "fs/mount/node_table.h"

#include <fcntl.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "unit/fs/sqlite_support.h"

namespace rillfs::mount {
namespace {

class NodeTableTest : public testing::Test {
 protected:
  void SetUp() override {
    const int fd = ::open(directory_.file("").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    table_ = std::move(NodeTable::open(fd).value());
    put("a");
  }
  void put(const std::string& name) { test::write_all(directory_.file(name), Buffer{1, 2, 3}); }
  std::shared_ptr<Node> look_up(const std::string& name) {
    auto found = table_->look_up(table_->root(), name);
    return found ? found->node : nullptr;
  }
  ino_t inode(const std::string& name) {
    struct stat status {};
    EXPECT_EQ(::lstat(directory_.file(name).c_str(), &status), 0);
    return status.st_ino;
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<NodeTable> table_;
};

TEST_F(NodeTableTest, TheRootIsNumberOneAndNeverForgotten) {
  EXPECT_EQ(table_->root().id(), NodeTable::kRootId);
  EXPECT_TRUE(table_->root().is_directory());
  table_->forget(NodeTable::kRootId, UINT64_MAX);
  EXPECT_EQ(table_->find(NodeTable::kRootId).get(), &table_->root());
}

TEST_F(NodeTableTest, ANodeHasItsInodesNumberAndItsPlace) {
  auto found = table_->look_up(table_->root(), "a");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->node->id(), inode("a"));
  EXPECT_EQ(found->status.st_size, 3);
  EXPECT_TRUE(found->node->is_regular());
  EXPECT_EQ(found->node->place().parent, NodeTable::kRootId);
  EXPECT_EQ(found->node->place().name, "a");
  EXPECT_EQ(table_->find(inode("a")), found->node);
}

TEST_F(NodeTableTest, WhatWasNeverLookedUpIsNotThere) {
  EXPECT_FALSE(table_->find(inode("a")));
  EXPECT_FALSE(table_->find(0));
  EXPECT_FALSE(table_->find(UINT64_MAX));
}

TEST_F(NodeTableTest, AMissingNameIsNotFoundAndCountsNothing) {
  auto found = table_->look_up(table_->root(), "missing");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, ErrorCode::kNotFound);
}

TEST_F(NodeTableTest, GoesWithItsLastReference) {
  const std::uint64_t id = look_up("a")->id();
  look_up("a");
  look_up("a");
  table_->forget(id, 1);
  EXPECT_TRUE(table_->find(id));
  table_->forget(id, 1);
  EXPECT_TRUE(table_->find(id));
  table_->forget(id, 1);
  EXPECT_FALSE(table_->find(id));
  table_->forget(id, 1);
  EXPECT_FALSE(table_->find(id));
}

TEST_F(NodeTableTest, ForgettingMoreThanThereWasIsHarmless) {
  const std::uint64_t id = look_up("a")->id();
  table_->forget(id, UINT64_MAX);
  EXPECT_FALSE(table_->find(id));
  EXPECT_TRUE(look_up("a"));
  EXPECT_TRUE(table_->find(id));
}

TEST_F(NodeTableTest, WhoHoldsANodeKeepsItThroughForget) {
  auto node = look_up("a");
  table_->forget(node->id(), 1);
  EXPECT_TRUE(node->status());
  EXPECT_NE(look_up("a"), node) << "the kernel is told of a new one";
}

TEST_F(NodeTableTest, TwoNamesOfOneFileAreOneNode) {
  ASSERT_EQ(::link(directory_.file("a").c_str(), directory_.file("b").c_str()), 0);
  auto node = look_up("a");
  EXPECT_EQ(look_up("b"), node);
  table_->forget(node->id(), 1);
  EXPECT_TRUE(table_->find(node->id()));
}

TEST_F(NodeTableTest, ARemovedFileKeepsItsNumberUntilItIsForgotten) {
  auto node = look_up("a");
  ::unlink(directory_.file("a").c_str());
  for (int i = 0; i < 20; ++i) {
    const std::string name = "n" + std::to_string(i);
    put(name);
    EXPECT_NE(look_up(name), node);
    EXPECT_NE(inode(name), node->id());
  }
  EXPECT_EQ(node->status()->st_nlink, 0U);
}

TEST_F(NodeTableTest, ALinkIsNotFollowed) {
  ASSERT_EQ(::symlink("a", directory_.file("link").c_str()), 0);
  auto node = look_up("link");
  ASSERT_TRUE(node);
  EXPECT_EQ(node->id(), inode("link"));
  EXPECT_FALSE(node->is_regular());
}

TEST_F(NodeTableTest, NothingOfAnotherFileSystemIsServed) {
  auto root = NodeTable::open(::open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(root);
  auto found = (*root)->look_up((*root)->root(), "proc");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().errno_value, EXDEV);
}

TEST_F(NodeTableTest, ManyThreadsCountEveryReference) {
  const std::uint64_t id = look_up("a")->id();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i) {
        auto node = look_up("a");
        ASSERT_TRUE(node);
        EXPECT_EQ(table_->find(id), node);
        table_->forget(id, 1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(table_->find(id)) << "the first reference is left";
  table_->forget(id, 1);
  EXPECT_FALSE(table_->find(id));
}

}  // namespace
}  // namespace rillfs::mount
