// Goal: identity and epoch survive restarts, never go back, and no stranger is followed or served. Method: a
// data directory that is opened again and again.
#include "replication/node.h"

#include <gtest/gtest.h>

#include "unit/support/fake_databases.h"

namespace rillfs {

class NodeRules : public ::testing::Test {
 protected:
  std::unique_ptr<Node> open() { return std::move(Node::open(files, directory.path(), random).value()); }
  testing::TemporaryDirectory directory;
  PosixFileSystem files;
  SystemRandom random;
  PeerIdentity primary{NodeId{5}, ClusterId{100}, Epoch{3}, Role::kPrimary, "peer:1"};
  PeerIdentity replica{NodeId{6}, ClusterId{100}, Epoch{1}, Role::kReplica, "peer:2"};
};

TEST_F(NodeRules, TheIdIsMadeOnceAndKept) {
  NodeId id = open()->id();
  EXPECT_NE(id, NodeId{});
  EXPECT_EQ(open()->id(), id);
}

TEST_F(NodeRules, ADamagedIdentityIsNotReplaced) {
  open()->become_primary(random).value();
  std::ofstream(directory.path() + "/cluster.json") << "{\"cluster_id\": 3}";
  EXPECT_EQ(Node::open(files, directory.path(), random).error().code, ErrorCode::kCorrupt);
  std::filesystem::remove(directory.path() + "/cluster.json");
  std::ofstream(directory.path() + "/node.id") << "xyz\n";
  EXPECT_EQ(Node::open(files, directory.path(), random).error().code, ErrorCode::kCorrupt);
}

TEST_F(NodeRules, TheFirstPrimaryMakesTheClusterAndARestartKeepsTheEpoch) {
  open()->become_primary(random).value();
  auto first = open()->membership();
  EXPECT_NE(first.cluster, ClusterId{});
  EXPECT_EQ(first.epoch, Epoch{1});
  open()->become_primary(random).value();
  EXPECT_EQ(open()->membership(), first);
}

TEST_F(NodeRules, AReplicaThatBecomesPrimaryRaisesTheEpoch) {
  auto node = open();
  node->become_replica().value();
  node->meet_primary(primary).value();
  EXPECT_EQ(open()->membership().cluster, primary.cluster);
  node = open();
  node->become_primary(random).value();
  EXPECT_EQ(open()->membership().epoch, Epoch{4});
  EXPECT_EQ(open()->membership().cluster, primary.cluster);
}

TEST_F(NodeRules, AnEpochWithTwoPrimariesIsContestedUntilThereIsANewerOne) {
  auto node = open();
  node->become_replica().value();
  node->meet_primary(primary).value();
  node->meet_primary(primary).value();
  EXPECT_FALSE(open()->membership().contested);
  PeerIdentity other = primary;
  other.node = NodeId{7};
  node->meet_primary(other).value();
  EXPECT_TRUE(open()->membership().contested);
  node->meet_primary(other).value();
  EXPECT_TRUE(open()->membership().contested) << "what was made in it is still here";
  ++other.epoch.value;
  node->meet_primary(other).value();
  EXPECT_FALSE(open()->membership().contested);
  EXPECT_EQ(open()->membership().primary, other.node);
}

TEST_F(NodeRules, WhoWasPrimaryItselfContestsTheEpochOfAnother) {
  auto node = open();
  node->become_replica().value();
  node->meet_primary(primary).value();
  node = open();
  node->become_primary(random).value();
  node = open();
  node->become_replica().value();
  primary.epoch = Epoch{4};
  node->meet_primary(primary).value();
  EXPECT_TRUE(open()->membership().contested);
}

TEST_F(NodeRules, AMembershipThatDoesNotNameThePrimaryIsRead) {
  std::ofstream(directory.path() + "/cluster.json")
      << R"({"cluster_id": "0000000000000064", "epoch": 3, "role": "replica"})";
  EXPECT_EQ(open()->membership(), (Membership{ClusterId{100}, Epoch{3}, Role::kReplica, {}, false}));
}

TEST_F(NodeRules, ANewerEpochIsOnDiskBeforeItIsUsedAndAnOlderOneRefused) {
  auto node = open();
  node->become_replica().value();
  primary.epoch = Epoch{9};
  node->meet_primary(primary).value();
  EXPECT_EQ(open()->membership().epoch, Epoch{9});
  primary.epoch = Epoch{8};
  auto met = node->meet_primary(primary);
  ASSERT_FALSE(met);
  EXPECT_EQ(met.error().code, ErrorCode::kFenced);
  EXPECT_EQ(open()->membership().epoch, Epoch{9});
}

TEST_F(NodeRules, AForeignClusterIsRefusedWithBothIds) {
  auto node = open();
  node->become_replica().value();
  node->meet_primary(primary).value();
  primary.cluster = ClusterId{0xabc};
  auto met = node->meet_primary(primary);
  ASSERT_FALSE(met);
  EXPECT_NE(met.error().message.find("0000000000000abc"), std::string::npos);
  EXPECT_NE(met.error().message.find(to_hex(100)), std::string::npos);
  EXPECT_EQ(open()->membership().cluster, ClusterId{100});
}

TEST_F(NodeRules, APeerWithOurOwnIdIsRefused) {
  auto node = open();
  node->become_replica().value();
  primary.node = node->id();
  EXPECT_FALSE(node->meet_primary(primary));
  EXPECT_EQ(open()->membership().cluster, ClusterId{});
}

TEST_F(NodeRules, APrimaryReportsANewerEpoch) {
  auto node = open();
  node->become_primary(random).value();
  Epoch reported;
  node->on_newer_epoch([&](Epoch seen, const PeerIdentity&) { reported = seen; });
  replica.cluster = node->membership().cluster;
  node->meet_subscriber(replica).value();
  replica.epoch = Epoch{7};
  EXPECT_EQ(node->meet_subscriber(replica).error().code, ErrorCode::kFenced);
  EXPECT_EQ(reported, Epoch{7});
  replica.cluster = ClusterId{1};
  EXPECT_EQ(node->meet_subscriber(replica).error().code, ErrorCode::kInvalid);
}

}  // namespace rillfs
