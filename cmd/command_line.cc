#include "cmd/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>

#include "cmd/completion.h"
#include "cmd/config_file.h"
#include "cmd/ltx.h"
#include "cmd/mount.h"
#include "cmd/options.h"
#include "cmd/parked.h"
#include "cmd/report.h"
#include "cmd/show_status.h"
#include "cmd/transfer.h"
#include "cmd/verify.h"
#include "fs/mount/libfuse.h"
#include "replication/base/failpoint.h"

namespace rillfs::cmd {
namespace {

constexpr const char* kDefaultConfigPath = "/etc/rillfs/rillfs.yml";
constexpr const char* kExamples =
    "Try it:\n"
    "  rillfs mount --data /var/lib/rillfs /data                       a primary\n"
    "  rillfs mount --data /var/lib/rillfs --primary db-1:20202 /data  a replica of db-1\n"
    "  rillfs status --watch                                           how they are doing\n"
    "\n"
    "Exit codes: 0 it worked, 1 it did not, 2 the command line or the configuration is wrong.\n"
    "Every option can also stand in a file (-c) or in the environment (RILLFS_...).";

/// A flag for one entry of the option table; what it is given lands in `out.flags`.
void add_flag_for(CLI::App& app, const OptionDefinition& option, CommandLine& out) {
  std::string flag = "--" + std::string(option.name);
  std::string help = std::string(option.help) + " [" + std::string(default_text(option)) + "]";
  auto store = [&out, &option, flag](const std::string& text) {
    out.flags[std::string(option.name)] = Setting{text, std::nullopt, flag};
  };
  CLI::Option* made = app.add_option_function<std::string>(flag, store, help);
  made->group(std::string(option.group))->type_name(placeholder(option));
}

CLI::App* add_command(CLI::App& parent, CommandLine& out, const std::string& name, const std::string& help) {
  CLI::App* app = parent.add_subcommand(name, help);
  std::string path = parent.get_parent() == nullptr ? name : parent.get_name() + " " + name;
  // The innermost command's callback runs first; the groups above it keep what it said.
  app->callback([&out, path] {
    if (out.command.empty()) out.command = path;
  });
  return app;
}

void add_config(CLI::App& app, CommandLine& out) {
  app.add_option("-c,--config", out.config_path,
                 std::string("Configuration file [") + kDefaultConfigPath + " if there is one]")
      ->type_name("FILE");
}

void add_data(CLI::App& app, CommandLine& out) {
  add_config(app, out);
  add_flag_for(app, option_definitions()[0], out);
}

void add_node_options(CLI::App& app, CommandLine& out) {
  add_config(app, out);
  for (const OptionDefinition& option : option_definitions())
    if (has_flag(option)) add_flag_for(app, option, out);
}

void add_mount(CLI::App& parser, CommandLine& out) {
  CLI::App* mount = add_command(parser, out, "mount", "Run a node and mount its databases");
  add_node_options(*mount, out);
  mount
      ->add_option_function<std::string>(
          "MOUNTPOINT",
          [&out](const std::string& text) {
            out.flags["mountpoint"] = Setting{text, std::nullopt, "MOUNTPOINT"};
          },
          "Where applications find the databases")
      ->type_name("DIR");
  mount->footer(
      "With '-- COMMAND ARGS...' at the end, the command runs once the databases are ready and\n"
      "the node ends with it, with its exit code.");
}

void add_questions(CLI::App& parser, CommandLine& out) {
  CLI::App* status =
      add_command(parser, out, "status", "How the node, its databases and its replicas are doing");
  add_data(*status, out);
  status->add_flag("--json", out.json, "For programs");
  status->add_flag("--watch", out.watch, "Again every second");
  CLI::App* primary = add_command(parser, out, "primary", "Who is primary, where, and since when");
  add_data(*primary, out);
  primary->add_flag("--json", out.json, "For programs");
}

void add_transfers(CLI::App& parser, CommandLine& out) {
  CLI::App* in = add_command(parser, out, "import", "Copy a SQLite database into the mount");
  add_data(*in, out);
  in->add_flag("-q,--quiet", out.quiet, "No progress bar");
  in->add_option("FILE", out.file, "The database to copy")->required();
  in->add_option("NAME", out.name, "Its name in the mount")->required();
  CLI::App* ex = add_command(parser, out, "export", "Copy a database out of the mount, consistently");
  add_data(*ex, out);
  ex->add_flag("-q,--quiet", out.quiet, "No progress bar");
  ex->add_flag("-f,--force", out.force, "Replace FILE if it exists");
  ex->add_option("NAME", out.name, "Its name in the mount")->required();
  ex->add_option("FILE", out.file, "Where to copy it")->required();
}

void add_verify(CLI::App& parser, CommandLine& out) {
  CLI::App* verify = add_command(
      parser, out, "verify", "Read databases of the running node and compare every page with its checksum");
  add_data(*verify, out);
  add_flag_for(*verify, *find_option_by_key("verify.rate"), out);
  verify->add_flag("-q,--quiet", out.quiet, "No progress bar");
  verify->add_flag("--json", out.json, "For programs");
  verify->add_option("NAME", out.names, "Names in the mount; all databases without");
}

void add_parked(CLI::App& parser, CommandLine& out) {
  CLI::App* parked =
      add_command(parser, out, "parked", "What was put aside: branches that lost, damaged databases");
  parked->require_subcommand(1);
  CLI::App* list = add_command(*parked, out, "list", "What is there");
  add_data(*list, out);
  list->add_flag("--json", out.json, "For programs");
  CLI::App* ex =
      add_command(*parked, out, "export",
                  "Copy it to FILE: a SQLite database, or a directory of change sets of what has none");
  add_data(*ex, out);
  ex->add_option("NAME", out.name, "As the list has it")->required();
  ex->add_option("FILE", out.file, "Where to copy it; must not exist")->required();
  CLI::App* drop = add_command(*parked, out, "drop", "Remove it for good");
  add_data(*drop, out);
  drop->add_flag("--yes", out.yes, "Yes, remove it");
  drop->add_option("NAME", out.name, "As the list has it")->required();
}

void add_ltx(CLI::App& parser, CommandLine& out) {
  CLI::App* ltx = add_command(parser, out, "ltx", "Look into LTX files and log segments (*.seg)");
  ltx->require_subcommand(1);
  auto files = [&out](CLI::App* app) {
    app->add_option("FILE", out.files, "LTX files or segments")->required();
  };
  files(add_command(*ltx, out, "verify", "Check every byte; exit code 1 if any is wrong"));
  CLI::App* list = add_command(*ltx, out, "list", "A table of the change sets");
  files(list);
  CLI::Option* json = list->add_flag("--json", out.json, "For programs");
  list->add_flag("--tsv", out.tsv, "Columns separated by tabs")->excludes(json);
  CLI::App* dump = add_command(*ltx, out, "dump", "Header, pages and trailer of each change set");
  files(dump);
  dump->add_flag("--pages", out.pages, "With the pages' content");
  CLI::App* extract =
      add_command(*ltx, out, "extract", "Write change sets as files <min txid>-<max txid>.ltx");
  extract->add_option("SEGMENTS_AND_DIR", out.files, "Segments, and where to write")
      ->required()
      ->expected(2, -1);
}

int run_ltx(const CommandLine& line) {
  if (line.command == "ltx verify") return run_ltx_verify(line.files, std::cout);
  if (line.command == "ltx dump") return run_ltx_dump(line.files, line.pages, std::cout);
  ListFormat format = line.json ? ListFormat::kJson : line.tsv ? ListFormat::kTsv : ListFormat::kTable;
  if (line.command == "ltx list") return run_ltx_list(line.files, format, std::cout);
  return run_ltx_extract({line.files.begin(), line.files.end() - 1}, line.files.back(), std::cout);
}

void add_rest(CLI::App& parser, CommandLine& out) {
  CLI::App* config = add_command(parser, out, "config", "The configuration in effect");
  config->require_subcommand(1);
  add_node_options(*add_command(*config, out, "show", "Print every option as it is in effect"), out);
  CLI::App* completion = add_command(parser, out, "completion", "Print a completion script for a shell");
  completion->add_option("SHELL", out.shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  add_command(parser, out, "version", "Print the version");
}

std::string version_text() {
  return std::string("rillfs ") + RILLFS_VERSION + "\nlibfuse " + mount::libfuse_version() + "\n";
}

/// For tests, in builds that have any: no command that help knows.
int print_failpoints() {
  for (std::string_view name : failpoint::kNames) std::cout << name << "\n";
  return kExitOk;
}

Result<Config> load_config(const CommandLine& line) {
  Environment environment = process_environment();
  std::string path = line.config_path;
  if (path.empty()) path = environment("RILLFS_CONFIG").value_or("");
  if (path.empty() && std::filesystem::exists(kDefaultConfigPath)) path = kDefaultConfigPath;
  Settings file;
  if (!path.empty()) {
    RILL_ASSIGN(file, read_config_file(path, environment));
  }
  return make_config(line.flags, environment, file);
}

int show_config(const Config& config) {
  for (const OptionDefinition& option : option_definitions()) {
    std::string value = option.get(config);
    std::cout << option.key << ": " << (value.empty() ? "(" + std::string(default_text(option)) + ")" : value)
              << "\n";
  }
  return kExitOk;
}

int mount(const Config& config) {
  if (config.mountpoint.empty())
    return report(
        make_error(ErrorCode::kInvalid,
                   "mountpoint: not given; write 'rillfs mount MOUNTPOINT', or 'mountpoint:' in the "
                   "configuration file"),
        kExitUsage);
  return run_mount(config);
}

int dispatch(const CommandLine& line) {
  if (line.command == "version") {
    std::cout << version_text();
    return kExitOk;
  }
  if (line.command == "completion") {
    CommandLine unused;
    std::cout << completion_script(*make_parser(unused), line.shell);
    return kExitOk;
  }
  if (line.command.rfind("ltx ", 0) == 0) return run_ltx(line);
  auto config = load_config(line);
  if (!config) return report(config.error(), kExitUsage);
  if (line.command == "mount") return mount(*config);
  if (line.command == "status") return run_status(config->data, line.json, line.watch);
  if (line.command == "primary") return run_primary(config->data, line.json);
  if (line.command == "import") return run_import(config->data, line.file, line.name, line.quiet);
  if (line.command == "export") return run_export(config->data, line.name, line.file, line.force, line.quiet);
  if (line.command == "verify")
    return run_verify(config->data, line.names, config->verify_rate, line.json, line.quiet);
  if (line.command == "parked list") return run_parked_list(config->data, line.json);
  if (line.command == "parked export") return run_parked_export(config->data, line.name, line.file);
  if (line.command == "parked drop") return run_parked_drop(config->data, line.name, line.yes);
  return show_config(*config);
}

/// A switch may stand alone: `--candidate` means `--candidate=true`. Said outright, so that the parser does
/// not take the mountpoint behind it for its value.
std::vector<std::string> complete_switches(std::vector<std::string> words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (const OptionDefinition& option : option_definitions()) {
      bool bare = option.kind == ValueKind::kSwitch && words[i] == "--" + std::string(option.name);
      if (bare && (i + 1 == words.size() || !parse_switch(words[i + 1]))) words[i] += "=true";
    }
  }
  return words;
}

}  // namespace

std::unique_ptr<CLI::App> make_parser(CommandLine& out) {
  auto parser = std::make_unique<CLI::App>(
      "RillFS replicates SQLite databases between machines, underneath programs that do not know.", "rillfs");
  parser->get_formatter()->column_width(38);
  parser->require_subcommand(1);
  parser->footer(kExamples);
  parser->set_help_all_flag("--help-all", "Help for every command at once");
  parser->set_version_flag("--version", version_text, "Print the version");
  add_mount(*parser, out);
  add_questions(*parser, out);
  add_transfers(*parser, out);
  add_verify(*parser, out);
  add_parked(*parser, out);
  add_ltx(*parser, out);
  add_rest(*parser, out);
  return parser;
}

Result<CommandLine> parse_command_line(const std::vector<std::string>& words, std::string& help) {
  CommandLine out;
  auto parser = make_parser(out);
  // What follows the first -- belongs to the command to run; the parser never sees it.
  bool runs_command = !words.empty() && words.front() == "mount";
  auto dashes = runs_command ? std::find(words.begin(), words.end(), "--") : words.end();
  runs_command = dashes != words.end();
  std::vector<std::string> reversed = complete_switches({words.begin(), dashes});
  std::reverse(reversed.begin(), reversed.end());
  try {
    parser->parse(reversed);
  } catch (const CLI::CallForHelp&) {
    // The help of the innermost command that was named.
    CLI::App* app = parser.get();
    while (!app->get_subcommands().empty()) app = app->get_subcommands().front();
    std::string parents;
    for (CLI::App* up = app->get_parent(); up != nullptr; up = up->get_parent())
      parents = up->get_name() + (parents.empty() ? "" : " ") + parents;
    help = app->help(parents);
    return out;
  } catch (const CLI::CallForAllHelp&) {
    help = parser->help("", CLI::AppFormatMode::All);
    return out;
  } catch (const CLI::CallForVersion& version) {
    help = version.what();
    return out;
  } catch (const CLI::ParseError& error) {
    return make_error(ErrorCode::kInvalid, std::string(error.what()) + "; see 'rillfs --help'");
  }
  if (runs_command) {
    Setting exec{"", std::vector<std::string>(dashes + 1, words.end()), "-- COMMAND"};
    out.flags["exec"] = std::move(exec);
  }
  return out;
}

int run(const std::vector<std::string>& words) {
  if (failpoint::kThere && words == std::vector<std::string>{"failpoints"}) return print_failpoints();
  try {
    std::string help;
    auto line = parse_command_line(words, help);
    if (!line) return report(line.error(), kExitUsage);
    if (!help.empty()) {
      std::cout << help;
      return kExitOk;
    }
    return dispatch(*line);
  } catch (const std::exception& error) {
    return report(make_error(ErrorCode::kIo, std::string("unexpected: ") + error.what()));
  }
}

}  // namespace rillfs::cmd
