#include "cmd/completion.h"

#include <CLI/CLI.hpp>
#include <vector>

namespace rillfs::cmd {
namespace {

struct Flag {
  std::string name;  ///< with its dashes
  std::string help;
};
struct Command {
  std::string path;  ///< "ltx verify"; empty for the program itself
  std::vector<std::string> subcommands;
  std::vector<std::string> subcommand_help;
  std::vector<Flag> flags;
};

void collect(const CLI::App& app, const std::string& path, std::vector<Command>& out) {
  Command command{path, {}, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames())
      command.flags.push_back({"--" + name, option->get_description()});
    for (const std::string& name : option->get_snames())
      command.flags.push_back({"-" + name, option->get_description()});
  }
  auto children = app.get_subcommands([](const CLI::App*) { return true; });
  for (const CLI::App* child : children) {
    command.subcommands.push_back(child->get_name());
    command.subcommand_help.push_back(child->get_description());
  }
  out.push_back(std::move(command));
  for (const CLI::App* child : children)
    collect(*child, path.empty() ? child->get_name() : path + " " + child->get_name(), out);
}

std::string joined(const Command& command) {
  std::string out;
  for (const std::string& word : command.subcommands) out += (out.empty() ? "" : " ") + word;
  for (const Flag& flag : command.flags) out += (out.empty() ? "" : " ") + flag.name;
  return out;
}

/// In single quotes, for all three shells: a quote becomes a typographic one, which needs no escaping.
std::string in_quotes(std::string_view text) {
  std::string out = "'";
  for (char c : text) {
    if (c == '\'')
      out += "\xe2\x80\x99";
    else if (c != '\\')
      out += c;
  }
  return out + "'";
}

/// bash and zsh share the walk: the commands' words so far select the list of what may follow.
std::string cases(const std::vector<Command>& commands, const char* indent) {
  std::string out;
  for (const Command& command : commands)
    out += std::string(indent) + "'" + command.path + "') words='" + joined(command) + "' ;;\n";
  return out;
}

std::string paths(const std::vector<Command>& commands) {
  std::string out;
  for (const Command& command : commands)
    if (!command.path.empty()) out += (out.empty() ? "'" : "|'") + command.path + "'";
  return out;
}

std::string bash(const std::vector<Command>& commands) {
  return "# bash completion for rillfs; source it, or put it where bash-completion looks.\n"
         "_rillfs() {\n"
         "  local path='' next word words=''\n"
         "  for word in \"${COMP_WORDS[@]:1:COMP_CWORD-1}\"; do\n"
         "    next=\"${path:+$path }$word\"\n"
         "    case \"$next\" in " +
         paths(commands) +
         ") path=\"$next\" ;; esac\n"
         "  done\n"
         "  case \"$path\" in\n" +
         cases(commands, "    ") +
         "  esac\n"
         "  COMPREPLY=( $(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\") )\n"
         "}\n"
         "complete -o default -o bashdefault -F _rillfs rillfs\n";
}

std::string zsh(const std::vector<Command>& commands) {
  return "#compdef rillfs\n"
         "_rillfs() {\n"
         "  local path_so_far='' next word choices=''\n"
         "  for word in \"${(@)words[2,CURRENT-1]}\"; do\n"
         "    next=\"${path_so_far:+$path_so_far }$word\"\n"
         "    case \"$next\" in (" +
         paths(commands) +
         ") path_so_far=\"$next\" ;; esac\n"
         "  done\n"
         "  case \"$path_so_far\" in\n" +
         [&] {
           std::string out;
           for (const Command& command : commands)
             out += "    ('" + command.path + "') choices='" + joined(command) + "' ;;\n";
           return out;
         }() +
         "  esac\n"
         "  compadd -- ${=choices}\n"
         "  _files\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _rillfs ]; then _rillfs \"$@\"; else compdef _rillfs rillfs; fi\n";
}

std::string fish(const std::vector<Command>& commands) {
  std::string out =
      "# fish completion for rillfs\n"
      "function __rillfs_at\n"
      "    set -l path ''\n"
      "    for word in (commandline -opc)[2..-1]\n"
      "        set -l next (string trim -- \"$path $word\")\n"
      "        switch $next\n"
      "            case";
  for (const Command& command : commands)
    if (!command.path.empty()) out += " '" + command.path + "'";
  out +=
      "\n"
      "                set path $next\n"
      "        end\n"
      "    end\n"
      "    test \"$path\" = \"$argv\"\n"
      "end\n";
  for (const Command& command : commands) {
    std::string at = "complete -c rillfs -n \"__rillfs_at '" + command.path + "'\"";
    for (std::size_t i = 0; i < command.subcommands.size(); ++i)
      out += at + " -f -a " + command.subcommands[i] + " -d " + in_quotes(command.subcommand_help[i]) + "\n";
    for (const Flag& flag : command.flags) {
      bool is_long = flag.name[1] == '-';
      out += at + (is_long ? " -l " + flag.name.substr(2) : " -s " + flag.name.substr(1)) + " -d " +
             in_quotes(flag.help) + "\n";
    }
  }
  return out;
}

}  // namespace

std::string completion_script(const CLI::App& parser, const std::string& shell) {
  std::vector<Command> commands;
  collect(parser, "", commands);
  if (shell == "bash") return bash(commands);
  if (shell == "zsh") return zsh(commands);
  if (shell == "fish") return fish(commands);
  return "";
}

}  // namespace rillfs::cmd
