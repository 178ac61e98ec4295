// What makes a shell complete the command line, made from the same description that parses it.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <map>

#include "core/error.h"
#include "launch/cli/options/options.h"
#include "launch/cli/verbs/verbs.h"

namespace lockstep::cli {

namespace {

/// What may follow an option. Its type's alternatives tell: words are offered as they are, `idx:DIR` up to the part in
/// capitals, and FILE and DIR alone stand for paths.
struct Values {
  std::vector<std::string> words;
  bool files = false, folders = false;
  bool list = false;  // of several words, with commas between
};

struct Described {
  std::string name, help;
};

struct Command {
  Described verb;
  std::vector<Described> options;
};

struct Commands {
  std::vector<Command> all;
  // By command and option, "train --model", of those that take any; what a command takes without an option, by command.
  std::map<std::string, Values> values;
};

const std::vector<std::string> shells{"bash", "zsh", "fish"};

Values values_of(std::string type) {
  Values values{.words = {}, .list = type.ends_with(several)};
  if (values.list) type.resize(type.size() - std::string_view(several).size());
  if (type.find('|') == std::string::npos && type != "FILE" && type != "DIR") return values;
  for (size_t at = 0; at <= type.size();) {
    const size_t end = std::min(type.find('|', at), type.size());
    const std::string one = type.substr(at, end - at);
    at = end + 1;
    values.files |= one == "FILE";
    values.folders |= one == "DIR";
    const auto capital = std::ranges::find_if(one, [](unsigned char c) { return std::isupper(c) != 0; });
    const std::string word(one.begin(), capital);
    if (!word.empty() && (capital == one.end() || word.ends_with(":") || word.ends_with("=")))
      values.words.push_back(word);
  }
  return values;
}

void describe(const CLI::App& app, const std::string& name, Commands& commands) {
  Command command{{name, app.get_description()}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // a former name
    const bool positional = option->get_lnames().empty();
    const std::string own = positional ? "" : "--" + option->get_lnames()[0];
    if (!positional) command.options.push_back({own, option->get_description()});
    if (option->get_items_expected_max() == 0) continue;
    const Values values = values_of(option->get_type_name());
    Values& all = commands.values[positional ? name : name + " " + own];  // a command may have several positionals
    all.words.insert(all.words.end(), values.words.begin(), values.words.end());
    all.files |= values.files;
    all.folders |= values.folders;
    all.list |= values.list;
  }
  commands.all.push_back(command);
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    describe(*verb, name.empty() ? verb->get_name() : name + " " + verb->get_name(), commands);
}

/// The verbs that may follow the words of `command`.
std::vector<Described> verbs_below(const Commands& commands, const Command& command) {
  const std::string start = command.verb.name.empty() ? "" : command.verb.name + " ";
  std::vector<Described> found;
  for (const Command& other : commands.all)
    if (other.verb.name.starts_with(start) && other.verb.name.size() > start.size())
      if (const std::string rest = other.verb.name.substr(start.size()); rest.find(' ') == std::string::npos)
        found.push_back({rest, other.verb.help});
  return found;
}

std::vector<std::string> names_of(const std::vector<Described>& all) {
  std::vector<std::string> names;
  for (const Described& one : all) names.push_back(one.name);
  return names;
}

/// In single quotes, for any of the shells; a quote itself becomes another sign, which all of them print.
std::string quoted(std::string text) {
  std::ranges::replace(text, '\'', '`');
  return "'" + text + "'";
}

/// Prints the shell's branches for commands' options: what to do, by patterns of command and option. What nothing can
/// be offered for has a branch that does nothing.
void print_option_branches(const Commands& commands, std::string (*act)(const Values&)) {
  std::map<std::string, std::vector<std::string>> patterns;  // by what to do
  for (const auto& [option, values] : commands.values)
    if (option.find("--") != std::string::npos) patterns[act(values)].push_back(quoted(option));
  for (const auto& [action, options] : patterns) fmt::print("    {}) {} ;;\n", fmt::join(options, "|"), action);
}

std::string bash_values(const Values& values) {
  std::string how;
  if (!values.words.empty()) how += fmt::format("-W {} ", quoted(fmt::format("{}", fmt::join(values.words, " "))));
  if (values.files) how += "-f ";
  if (values.folders) how += "-d ";
  if (how.empty()) return "";
  // What stands behind the colon of a list's word is a number, elsewhere a path.
  if (values.list)
    return fmt::format(
        R"(((colon)) && [[ $word != *,* ]] || COMPREPLY=($(compgen -P "${{word%"${{word##*,}}"}}" {}-- "${{word##*,}}")))",
        how);
  const bool colons = std::ranges::any_of(values.words, [](const std::string& one) { return one.ends_with(":"); });
  const std::string all = fmt::format("COMPREPLY=($(compgen {}-- \"$word\"))", how);
  if (!colons) return all;
  return fmt::format(R"(if ((colon)); then COMPREPLY=($(compgen -f -- "$word")); else {}; fi)", all);
}

/// Prints the script. The words before the cursor are taken apart at "=" and ":" by bash itself.
void print_bash(const Commands& commands) {
  fmt::print(R"(# Completes the command line of lockstep, in bash.
_lockstep() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} at=$((COMP_CWORD - 1)) colon=0 verb=
  [[ $word == = || $word == : ]] && {{ at=$COMP_CWORD; word=; }}
  while ((at > 1)) && [[ ${{COMP_WORDS[at]}} == : ]]; do colon=1 at=$((at - 2)); done
  [[ ${{COMP_WORDS[at]}} == = ]] && at=$((at - 1))
  COMPREPLY=()
  compopt -o filenames 2>/dev/null
  ((COMP_CWORD > 1)) && verb=${{COMP_WORDS[1]}}
  case "$verb ${{COMP_WORDS[2]}}" in
)");
  for (const Command& command : commands.all)
    if (command.verb.name.find(' ') != std::string::npos)
      fmt::print("    {}) ((COMP_CWORD > 2)) && verb={} ;;\n", quoted(command.verb.name), quoted(command.verb.name));
  fmt::print("  esac\n  case \"$verb ${{COMP_WORDS[at]}}\" in\n");
  print_option_branches(commands, bash_values);
  fmt::print("    *) case $verb in\n");
  for (const Command& command : commands.all) {
    Values values;
    if (const auto found = commands.values.find(command.verb.name); found != commands.values.end())
      values = found->second;
    for (const auto& more : {verbs_below(commands, command), command.options})
      for (const Described& one : more) values.words.push_back(one.name);
    fmt::print("      {}) {} ;;\n", quoted(command.verb.name), bash_values(values));
  }
  fmt::print(R"(    esac ;;
  esac
  [[ ${{COMPREPLY[0]}} == *[:=] ]] && compopt -o nospace 2>/dev/null
}}
complete -F _lockstep lockstep
)");
}

std::string zsh_values(const Values& values) {
  std::string how = values.list ? "compset -P '*,'; " : "";
  if (!values.words.empty()) how += fmt::format("compadd -- {}; ", fmt::join(values.words, " "));
  if (values.files) how += "_files; ";
  if (values.folders && !values.files) how += "_files -/; ";
  return how;
}

void print_zsh(const Commands& commands) {
  const auto described = [](const std::vector<Described>& all) {
    std::string lines;
    for (const Described& one : all) lines += fmt::format("        {}\n", quoted(one.name + ":" + one.help));
    return lines;
  };
  fmt::print(R"(#compdef lockstep
# Completes the command line of lockstep, in zsh.
_lockstep() {{
  local verb=
  local -a verbs options
  ((CURRENT > 2)) && verb=$words[2]
  case "$verb $words[3]" in
)");
  for (const Command& command : commands.all)
    if (command.verb.name.find(' ') != std::string::npos)
      fmt::print("    {}) ((CURRENT > 3)) && verb={} ;;\n", quoted(command.verb.name), quoted(command.verb.name));
  fmt::print("  esac\n  case \"$verb $words[CURRENT-1]\" in\n");
  print_option_branches(commands, [](const Values& values) { return zsh_values(values) + "return"; });
  fmt::print("  esac\n  case $verb in\n");
  for (const Command& command : commands.all) {
    const auto found = commands.values.find(command.verb.name);
    fmt::print("    {})\n      verbs=(\n{})\n      options=(\n{})\n      {};;\n", quoted(command.verb.name),
               described(verbs_below(commands, command)), described(command.options),
               found == commands.values.end() ? "" : zsh_values(found->second));
  }
  fmt::print(R"(  esac
  ((#verbs)) && _describe command verbs
  _describe -o option options
}}
compdef _lockstep lockstep
)");
}

/// What follows an option, or stands by itself.
std::string fish_values(const Values& values, bool option) {
  const bool paths = values.files || values.folders;
  std::string how = option ? (paths ? " -r -F" : " -x") : (paths ? " -F" : "");
  const std::string words = fmt::format("{}", fmt::join(values.words, " "));
  if (!words.empty()) how += " -a " + quoted(values.list ? fmt::format("(__fish_append , {})", words) : words);
  return how;
}

/// A condition that the words before the cursor are those of `verb`, and no verb of it yet.
std::string fish_condition(const Commands& commands, const Command& command) {
  const std::vector<std::string> below = names_of(verbs_below(commands, command));
  std::string condition;
  for (const std::string& word : CLI::detail::split(command.verb.name, ' '))
    if (!word.empty())
      condition += fmt::format("{}__fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", word);
  if (!below.empty())
    condition +=
        fmt::format("{}not __fish_seen_subcommand_from {}", condition.empty() ? "" : "; and ", fmt::join(below, " "));
  return quoted(condition);
}

void print_fish(const Commands& commands) {
  fmt::print("# Completes the command line of lockstep, in fish.\ncomplete -c lockstep -f\n");
  for (const Command& command : commands.all) {
    const std::string where = "complete -c lockstep -n " + fish_condition(commands, command);
    for (const Described& verb : verbs_below(commands, command))
      fmt::print("{} -a {} -d {}\n", where, verb.name, quoted(verb.help));
    if (const auto found = commands.values.find(command.verb.name); found != commands.values.end())
      fmt::print("{}{}\n", where, fish_values(found->second, false));
    for (const Described& option : command.options) {
      const auto found = commands.values.find(command.verb.name + " " + option.name);
      fmt::print("{} -l {}{} -d {}\n", where, option.name.substr(2),
                 found == commands.values.end() ? "" : fish_values(found->second, true), quoted(option.help));
    }
  }
}

}  // namespace

void add_completion_options(CLI::App& verb, Options& options) {
  verb.add_option("shell", options.shell, "The shell that the script is for")->type_name(alternatives(shells));
}

void completion(const Options& options, Runtime& runtime) {
  if (runtime.rank() != 0) return;
  Options unused;
  CLI::App program;
  add_verbs(program, unused);
  Commands commands;
  describe(program, "", commands);
  if (options.shell.empty()) throw InputError("a shell is missing, expected {}", alternatives(shells));
  constexpr std::array print{print_bash, print_zsh, print_fish};
  print[index_of("shell", options.shell, shells)](commands);
}

}  // namespace lockstep::cli
