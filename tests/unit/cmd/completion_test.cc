// Goal: every shell offers what may follow, at every place, and nothing that a help text says breaks a
// script. Method: parsers made for the purpose and the program's own; bash runs its script.
#include "cmd/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "cmd/command_line.h"
#include "unit/cmd/temporary_directory.h"

namespace rillfs::cmd {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = ::popen(command.c_str(), "r");
  for (int c; (c = std::fgetc(pipe)) != EOF;) out += static_cast<char>(c);
  EXPECT_EQ(::pclose(pipe), 0) << command;
  return out;
}

class CompletionOf : public testing::Test {
 protected:
  CompletionOf() {
    app_.add_flag("-v,--verbose")->description("say more");
    auto* ltx = app_.add_subcommand("ltx", "change sets");
    ltx->add_subcommand("verify", "check 'one' with \\ and \"$HOME\" `id`")
        ->add_flag("--pages")
        ->description("each page");
    ltx->add_subcommand("show", "show one");
    app_.add_subcommand("status", "where it stands")->add_flag("--json")->description("for scripts");
  }
  /// What bash offers for the words so far, of which the last is not finished.
  std::string offered(const std::vector<std::string>& words) {
    write_text(directory_ / "script", completion_script(app_, "bash"));
    std::string line = "COMP_WORDS=(rillfs";
    for (const std::string& word : words) line += " '" + word + "'";
    line += "); COMP_CWORD=" + std::to_string(words.size());
    write_text(directory_ / "run",
               ". " + (directory_ / "script") + "\n" + line + "; _rillfs; echo \"${COMPREPLY[*]}\"\n");
    return output_of("bash " + (directory_ / "run"));
  }

  CLI::App app_{"a program"};
  TemporaryDirectory directory_;
};

TEST_F(CompletionOf, OffersCommandsAndFlagsOfThePlaceOnly) {
  EXPECT_THAT(offered({""}), HasSubstr("ltx status"));
  EXPECT_THAT(offered({""}), HasSubstr("--verbose"));
  EXPECT_EQ(offered({"st"}), "status\n");
  EXPECT_THAT(offered({"ltx", ""}), HasSubstr("verify show"));
  EXPECT_THAT(offered({"ltx", ""}), Not(HasSubstr("status")));
  EXPECT_EQ(offered({"ltx", "verify", "--p"}), "--pages\n");
  EXPECT_EQ(offered({"status", "--p"}), "\n");
}

TEST_F(CompletionOf, GoesOnAfterFlagsAndFiles) {
  EXPECT_EQ(offered({"-v", "ltx", "ver"}), "verify\n");
  EXPECT_EQ(offered({"ltx", "verify", "some file", "--p"}), "--pages\n");
}

TEST_F(CompletionOf, WordsOfTheUserRunNothing) {
  EXPECT_EQ(offered({"$(touch x)", "`touch x`", "st"}), "status\n");
}

TEST_F(CompletionOf, FishGetsDescriptionsInWhichNothingIsExpanded) {
  const std::string script = completion_script(app_, "fish");
  EXPECT_THAT(script,
              HasSubstr("-f -a verify -d 'check \xe2\x80\x99one\xe2\x80\x99 with  and \"$HOME\" `id`'\n"));
  EXPECT_THAT(script, HasSubstr("__rillfs_at 'ltx verify'\" -l pages -d 'each page'\n"));
  EXPECT_THAT(script, HasSubstr("__rillfs_at ''\" -s v -d 'say more'\n"));
}

TEST_F(CompletionOf, ZshNamesEachPlaceWithWhatMayFollow) {
  const std::string script = completion_script(app_, "zsh");
  EXPECT_TRUE(script.starts_with("#compdef rillfs\n"));
  EXPECT_THAT(script, HasSubstr("('ltx') choices='verify show "));
  EXPECT_THAT(script, HasSubstr("('ltx'|'ltx verify'|'ltx show'|'status') path_so_far="));
}

TEST_F(CompletionOf, KnowsNoOtherShell) {
  for (const char* shell : {"", "sh", "BASH", "powershell"}) EXPECT_EQ(completion_script(app_, shell), "");
}

TEST(CompletionOfTheProgram, OffersEveryCommandInEveryShell) {
  CommandLine unused;
  auto parser = make_parser(unused);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(*parser, shell);
    for (const CLI::App* command : parser->get_subcommands([](const CLI::App*) { return true; }))
      EXPECT_THAT(script, HasSubstr("'" + command->get_name() + "'")) << shell;
  }
}

}  // namespace
}  // namespace rillfs::cmd
