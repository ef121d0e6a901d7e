// Goal: the documented command lines mean what they say; completion scripts are ones that shells accept.
#include "cmd/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/App.hpp>

#include "cmd/completion.h"
#include "cmd/options.h"
#include "fs/mount/libfuse.h"
#include "temporary_directory.h"

namespace rillfs::cmd {
namespace {

using Words = std::vector<std::string>;

CommandLine parsed(const Words& words) {
  std::string help;
  return parse_command_line(words, help).value();
}
bool refused(const Words& words) {
  std::string help;
  return !parse_command_line(words, help);
}

TEST(CommandLine, MountTakesOptionsMountpointAndCommand) {
  CommandLine line =
      parsed({"mount", "-c", "r.yml", "--data", "/d", "--primary", "a:1", "/m", "--", "run", "--data", "--"});
  EXPECT_EQ(line.command, "mount");
  EXPECT_EQ(line.config_path, "r.yml");
  EXPECT_EQ(line.flags.at("data").text, "/d");
  EXPECT_EQ(line.flags.at("mountpoint").text, "/m");
  EXPECT_EQ(line.flags.at("exec").list.value(), (Words{"run", "--data", "--"}));
}

TEST(CommandLine, ASwitchDoesNotSwallowTheMountpoint) {
  for (const Words& words :
       {Words{"mount", "--candidate", "/m"}, Words{"mount", "--candidate=true", "/m"},
        Words{"mount", "--candidate", "true", "/m"}, Words{"mount", "/m", "--candidate"}}) {
    CommandLine line = parsed(words);
    EXPECT_EQ(line.flags.at("candidate").text, "true");
    EXPECT_EQ(line.flags.at("mountpoint").text, "/m");
  }
  EXPECT_EQ(parsed({"mount", "--candidate=false", "/m"}).flags.at("candidate").text, "false");
}

TEST(CommandLine, KnowsEveryCommand) {
  EXPECT_TRUE(parsed({"status", "--json", "--data", "/d"}).json);
  EXPECT_TRUE(parsed({"status", "--watch"}).watch);
  EXPECT_EQ(parsed({"primary"}).command, "primary");
  EXPECT_EQ(parsed({"import", "a.db", "b.db"}).name, "b.db");
  EXPECT_EQ(parsed({"export", "b.db", "a.db", "--force"}).file, "a.db");
  EXPECT_EQ(parsed({"config", "show"}).command, "config show");
  EXPECT_EQ(parsed({"completion", "zsh"}).shell, "zsh");
  EXPECT_EQ(parsed({"ltx", "extract", "a.seg", "b.seg", "dir"}).files, (Words{"a.seg", "b.seg", "dir"}));
  EXPECT_EQ(parsed({"ltx", "list", "--tsv", "a"}).command, "ltx list");
  EXPECT_EQ(parsed({"version"}).command, "version");
}

TEST(CommandLine, TheVersionNamesLibfuse) {
  std::string text;
  ASSERT_TRUE(parse_command_line({"--version"}, text));
  EXPECT_EQ(text, "rillfs " RILLFS_VERSION "\nlibfuse " + mount::libfuse_version() + "\n");
}

TEST(CommandLine, RefusesWhatItDoesNotKnow) {
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused({"mont"}));
  EXPECT_TRUE(refused({"mount", "--bogus"}));
  EXPECT_TRUE(refused({"mount", "/a", "/b"}));
  EXPECT_TRUE(refused({"import", "only-one"}));
  EXPECT_TRUE(refused({"completion", "tcsh"}));
}

TEST(CommandLine, HelpNamesEveryOptionAndItsDefault) {
  std::string help;
  ASSERT_TRUE(parse_command_line({"mount", "--help"}, help));
  EXPECT_THAT(help, testing::HasSubstr("Usage: rillfs mount ["));
  for (const OptionDefinition& option : option_definitions())
    if (has_flag(option)) {
      EXPECT_THAT(help, testing::HasSubstr("--" + std::string(option.name)));
    }
}

TEST(Completion, ScriptsNameEveryFlag) {
  CommandLine unused;
  auto parser = make_parser(unused);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    std::string script = completion_script(*parser, shell);
    for (const OptionDefinition& option : option_definitions()) {
      if (!has_flag(option)) continue;
      EXPECT_THAT(script, testing::HasSubstr(std::string(option.name))) << shell;
    }
  }
  EXPECT_EQ(completion_script(*parser, "tcsh"), "");
}

TEST(Completion, ShellsAcceptTheirScripts) {
  CommandLine unused;
  auto parser = make_parser(unused);
  TemporaryDirectory directory;
  for (std::string shell : {"bash", "zsh", "fish"}) {
    if (std::system(("command -v " + shell + " >/dev/null").c_str()) != 0) continue;
    write_text(directory / shell, completion_script(*parser, shell));
    EXPECT_EQ(std::system((shell + " -n " + (directory / shell)).c_str()), 0) << shell;
  }
}

TEST(Completion, BashOffersWhatMayFollow) {
  CommandLine unused;
  TemporaryDirectory directory;
  write_text(directory / "rillfs", completion_script(*make_parser(unused), "bash"));
  std::string check =
      "bash -c '. " + (directory / "rillfs") +
      "; COMP_WORDS=(rillfs config s); COMP_CWORD=2; _rillfs; test \"${COMPREPLY[*]}\" = show'";
  EXPECT_EQ(std::system(check.c_str()), 0);
}

}  // namespace
}  // namespace rillfs::cmd
