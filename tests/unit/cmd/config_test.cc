// Goal: the right source wins, and a wrong value is refused with the place where it stands.
#include "cmd/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "cmd/config_file.h"
#include "cmd/options.h"

namespace rillfs::cmd {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

Environment environment(std::map<std::string, std::string> variables = {}) {
  return [variables](const std::string& name) -> std::optional<std::string> {
    auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  };
}

Settings flag(const std::string& name, const std::string& text) {
  return {{name, Setting{text, std::nullopt, "--" + name}}};
}

Settings file(const std::string& yaml, const Environment& variables = environment()) {
  return parse_config(yaml, "rillfs.yml", variables).value();
}

std::string file_error(const std::string& yaml, const Environment& variables = environment()) {
  auto settings = parse_config(yaml, "rillfs.yml", variables);
  return settings ? "accepted" : settings.error().message;
}

std::string config_error(const Settings& flags, const Settings& from_file = {}) {
  auto config = make_config(flags, environment(), from_file);
  return config ? "accepted" : config.error().message;
}

TEST(Config, WithoutAnythingIsAPrimaryReadyForReplicas) {
  Config config = make_config({}, environment(), {}).value();
  EXPECT_EQ(config.data, "/var/lib/rillfs");
  EXPECT_EQ(config.listen, (HostPort{"127.0.0.1", 20202}));
  EXPECT_EQ(config.advertise, config.listen);
  EXPECT_FALSE(config.primary);
  EXPECT_TRUE(config.candidate);
  EXPECT_EQ(config.heartbeat, milliseconds(1000));
  EXPECT_EQ(config.peer_timeout, milliseconds(5000));
  EXPECT_EQ(config.retention_bytes, 256u << 20);
  EXPECT_EQ(config.retention_time, std::chrono::hours(24));
  EXPECT_EQ(config.segment_size, 64u << 20);
  EXPECT_EQ(config.wal_limit, 4ull << 30);
}

TEST(Config, WithAPrimaryIsNoCandidate) {
  Config config = make_config(flag("primary", "db-1:20202"), environment(), {}).value();
  EXPECT_FALSE(config.candidate);
}

TEST(Config, FlagBeatsEnvironmentBeatsFileBeatsDefault) {
  Settings yaml = file("data: /file");
  auto variables = environment({{"RILLFS_DATA", "/environment"}});
  EXPECT_EQ(make_config({}, environment(), yaml).value().data, "/file");
  EXPECT_EQ(make_config({}, variables, yaml).value().data, "/environment");
  EXPECT_EQ(make_config(flag("data", "/flag"), variables, yaml).value().data, "/flag");
}

TEST(Config, AnEmptyVariableCountsAsUnset) {
  EXPECT_EQ(make_config({}, environment({{"RILLFS_DATA", ""}}), file("data: /file")).value().data, "/file");
}

TEST(Config, EveryOptionCanComeFromEverySource) {
  const std::map<ValueKind, std::string> samples = {
      {ValueKind::kDirectory, "/elsewhere"}, {ValueKind::kAddress, "db-9:99"}, {ValueKind::kSwitch, "true"},
      {ValueKind::kDuration, "2s"},          {ValueKind::kSize, "2MiB"},       {ValueKind::kNumber, "0640"},
      {ValueKind::kChoice, "json"},          {ValueKind::kCommand, "server"}};
  for (const OptionDefinition& option : option_definitions()) {
    std::string name(option.name), key(option.key), sample = samples.at(option.kind);
    if (name == "log-level") sample = "debug";
    if (name == "capture") sample = "hold";
    std::string yaml = key + ": " + sample;
    if (auto dot = key.find('.'); dot != std::string::npos)
      yaml = key.substr(0, dot) + ":\n  " + key.substr(dot + 1) + ": " + sample;
    auto from_flag = make_config(flag(name, sample), environment(), {});
    auto from_variable = make_config({}, environment({{std::string(option.variable), sample}}), {});
    auto from_file = make_config({}, environment(), file(yaml));
    ASSERT_TRUE(from_flag && from_variable && from_file) << name;
    EXPECT_EQ(option.get(*from_flag), option.get(*from_file)) << name;
    EXPECT_EQ(option.get(*from_flag), option.get(*from_variable)) << name;
    EXPECT_NE(option.get(*from_flag), "") << name;
  }
}

TEST(Config, AWrongValueIsRefusedWithItsPlace) {
  EXPECT_THAT(config_error({}, file("retention:\n  bytes: lots")),
              testing::AllOf(HasSubstr("rillfs.yml:2: retention.bytes: 'lots'"), HasSubstr("256MiB")));
  EXPECT_THAT(config_error(flag("heartbeat", "soon")),
              HasSubstr("--heartbeat: replication.heartbeat: 'soon'"));
}

TEST(Config, RulesBetweenOptionsAreChecked) {
  EXPECT_THAT(config_error(flag("candidate", "false")), HasSubstr("--primary"));
  EXPECT_THAT(config_error(flag("peer-timeout", "1s")), HasSubstr("twice"));
  // A replica need not listen, so its default address may be the primary's; a candidate may follow.
  EXPECT_EQ(config_error(flag("primary", "127.0.0.1:20202")), "accepted");
  EXPECT_EQ(config_error({}, file("primary: a:1\ncandidate: true")), "accepted");
  EXPECT_THAT(config_error({}, file("data: /m/data\nmountpoint: /m")), HasSubstr("keep them apart"));
  EXPECT_EQ(config_error({}, file("data: /mm\nmountpoint: /m")), "accepted");
}

TEST(Config, AdvertisesARealAddressWhenListeningEverywhere) {
  Config config = make_config(flag("listen", "0.0.0.0:7"), environment(), {}).value();
  EXPECT_NE(config.advertise.host, "0.0.0.0");
  EXPECT_EQ(config.advertise.port, 7);
  EXPECT_THAT(config_error(flag("advertise", "0.0.0.0:7")), HasSubstr("advertise"));
}

TEST(Config, ACommandIsAListOrALineForTheShell) {
  using testing::ElementsAre;
  EXPECT_THAT(make_config({}, environment(), file("exec: [server, --port, '80']")).value().exec,
              ElementsAre("server", "--port", "80"));
  EXPECT_THAT(make_config({}, environment(), file("exec: server --port 80")).value().exec,
              ElementsAre("/bin/sh", "-c", "server --port 80"));
}

TEST(ConfigFile, RefusesUnknownKeysWithTheirLine) {
  EXPECT_THAT(file_error("data: /d\n\nlisen: 1"), HasSubstr("rillfs.yml:3: unknown key 'lisen'"));
  EXPECT_THAT(file_error("retention:\n  time: 1h\n  size: 1"),
              HasSubstr("rillfs.yml:3: unknown key 'retention.size'"));
  EXPECT_THAT(file_error("heartbeat: 1s"), HasSubstr("did you mean 'replication.heartbeat'?"));
}

TEST(ConfigFile, RefusesTheWrongShape) {
  EXPECT_THAT(file_error("- data"), HasSubstr("rillfs.yml:1"));
  EXPECT_THAT(file_error("data: [a, b]"), HasSubstr("one value"));
  EXPECT_THAT(file_error("retention: 5"), HasSubstr("group"));
  EXPECT_THAT(file_error("data: /a\ndata: /b"), HasSubstr("twice"));
  EXPECT_THAT(file_error("data: 'open"), HasSubstr("not valid YAML"));
  EXPECT_THAT(file_error("? [a]\n: b"), HasSubstr("rillfs.yml:1"));
}

TEST(ConfigFile, EmptyIsTheDefaults) {
  EXPECT_TRUE(file("").empty());
  EXPECT_TRUE(file("# nothing\n").empty());
  EXPECT_TRUE(file("primary:\nretention:\n").empty());
}

TEST(ConfigFile, ExpandsTheEnvironment) {
  auto variables = environment({{"HOST", "db-1"}, {"EMPTY", ""}});
  EXPECT_EQ(expand("${HOST}:1", variables).value(), "db-1:1");
  EXPECT_EQ(expand("${EMPTY:-x}${NONE:-y}${HOST:-z}", variables).value(), "xydb-1");
  EXPECT_EQ(expand("$${HOST} $5 $", variables).value(), "${HOST} $5 $");
  for (const char* wrong : {"${NONE}", "${HOST", "${}", "${1X}", "${A B}"})
    EXPECT_FALSE(expand(wrong, variables));
  EXPECT_THAT(file_error("data: /d\nlisten: ${NONE}"), HasSubstr("rillfs.yml:2: variable NONE is not set"));
  EXPECT_TRUE(file("primary: ${NONE:-}").empty());
}

TEST(ConfigFile, DoesNotTakeAVariableForYaml) {
  auto variables = environment({{"X", "/d\nlisten: 1:1"}});
  EXPECT_EQ(file("data: ${X}", variables).at("data").text, "/d\nlisten: 1:1");
}

TEST(ConfigDocs, ReferenceTableIsTheOptionTable) {
  std::ifstream in(RILLFS_SOURCE_DIR "/docs/configuration.md");
  std::stringstream text;
  text << in.rdbuf();
  EXPECT_THAT(text.str(), HasSubstr(options_as_markdown()));
}

TEST(ConfigDocs, ExampleFileIsAccepted) {
  std::ifstream in(RILLFS_SOURCE_DIR "/deploy/rillfs.yml");
  std::stringstream text;
  text << in.rdbuf();
  const std::map<std::string, std::string> replica = {{"RILLFS_PRIMARY", "db-1:20202"}};
  auto primary = make_config({}, environment(), file(text.str()));
  ASSERT_TRUE(primary) << primary.error().message;
  EXPECT_EQ(primary->mountpoint, "/data");
  EXPECT_FALSE(primary->primary);
  auto follower = make_config({}, environment(), file(text.str(), environment(replica)));
  ASSERT_TRUE(follower) << follower.error().message;
  EXPECT_EQ(follower->primary, (HostPort{"db-1", 20202}));
}

}  // namespace
}  // namespace rillfs::cmd
