// The lockstep command. Exit codes: 0 done, 1 something failed, 2 bad input.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "core/error.h"
#include "launch/cli/verbs.h"

namespace {

using namespace lockstep;

/// Refuses words that no verb knows, with the nearest one that there is.
void refuse_unknown(const CLI::App& app, const CLI::App& verb) {
  std::vector<std::string> left = app.remaining();
  for (const std::string& word : verb.remaining()) left.push_back(word);
  if (left.empty()) return;
  std::vector<std::string> names;
  for (const CLI::Option* option : verb.get_options()) names.push_back(option->get_name());
  if (&app == &verb)
    for (const CLI::App* sub : verb.get_subcommands([](const CLI::App*) { return true; }))
      names.push_back(sub->get_name());
  throw unknown(left[0].starts_with("-") ? "option" : "argument", left[0].substr(0, left[0].find('=')), names);
}

void run(int argc, char** argv, Runtime& runtime) {
  cli::Options options;
  CLI::App app{"Trains CNNs on many GPUs or CPU cores: the same trained bits for every number of ranks."};
  app.require_subcommand(0, 1);
  app.option_defaults()->take_last();  // so that a script's options can be followed by others
  app.allow_extras();
  std::vector<std::string> names;
  for (const cli::Verb& verb : cli::verbs()) {
    CLI::App* command = app.add_subcommand(verb.name, verb.help);
    for (const auto add : verb.options) add(*command, options);
    command->allow_extras();
    names.push_back(verb.name);
  }
  const auto chosen = [&]() -> const CLI::App& {
    return app.get_subcommands().empty() ? app : *app.get_subcommands()[0];
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    if (runtime.rank() == 0) app.exit(help);
    return;
  } catch (const CLI::ParseError& error) {
    refuse_unknown(app, chosen());
    throw InputError("{}", error.what());
  }
  refuse_unknown(app, chosen());
  if (app.get_subcommands().empty())
    throw InputError("a command is missing, expected one of {} (see --help)", fmt::join(names, ", "));
  cli::verbs()[index_of("command", chosen().get_name(), names)].run(options, runtime);
}

}  // namespace

int main(int argc, char** argv) {
  lockstep::Runtime runtime;
  return runtime.guard([&] { run(argc, argv, runtime); });
}
