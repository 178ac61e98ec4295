// The lockstep command. Exit codes: 0 done, 1 something failed, 2 bad input.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "core/error.h"
#include "launch/cli/options/help.h"
#include "launch/cli/options/options.h"
#include "launch/cli/options/settings.h"
#include "launch/cli/verbs/verbs.h"

namespace {

using namespace lockstep;

/// The command that was given, or the program where none was.
CLI::App& chosen(CLI::App& app) {
  const auto given = app.get_subcommands();
  return given.empty() ? app : chosen(*given[0]);
}

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

/// Refuses words that no verb knows, with the nearest one that there is.
void refuse_unknown(const CLI::App& app, const CLI::App& verb) {
  const std::vector<std::string> left = app.remaining(true);
  if (left.empty()) return;
  std::vector<std::string> names = verbs_of(verb);
  if (!left[0].starts_with("-")) {
    if (!names.empty()) throw unknown("command", left[0], names);
    throw InputError("'{}' stands alone: expected an option before it, such as --log debug (see {} --help)", left[0],
                     verb.get_name());
  }
  names.clear();
  for (const CLI::Option* known : verb.get_options())
    if (known->nonpositional()) names.push_back(known->get_name());
  const std::string given = left[0].substr(0, left[0].find('='));
  constexpr size_t few = 12, most = 3;
  if (names.size() <= few) throw unknown("option", given, names);
  std::vector<std::string> near;
  for (std::string next; near.size() < most && !(next = nearest(given, names)).empty(); std::erase(names, next))
    near.push_back(fmt::format("'{}'", next));
  const std::string hint = near.empty() ? "" : fmt::format("; did you mean {}?", fmt::join(near, " or "));
  throw InputError("unknown option '{}', expected one that '{} {} --help' lists{}", given, app.get_name(),
                   verb.get_name(), hint);
}

/// CLI11 says no more than "Could not convert: --batch = x" or "--batch: 1 required INT missing" or "DATA is required".
InputError told(const CLI::ParseError& error, const CLI::App& verb) {
  const std::string text = error.what();
  for (const CLI::Option* option : verb.get_options()) {
    const std::string name = option->get_name(), misfits = "Could not convert: " + name + " = ";
    if (text.starts_with(misfits)) return InputError("{}", cli::misfit(*option, text.substr(misfits.size())));
    if (text.starts_with(name + ": ") && text.ends_with(" missing"))
      return InputError("{} has no value, expected {}", name, cli::expected(*option));
    if (text == name + " is required") return InputError("{} is missing, expected {}", name, cli::expected(*option));
  }
  return InputError("{}", text);
}

void run(int argc, char** argv, Runtime& runtime) {
  cli::Options options;
  CLI::App app{"Trains CNNs on many GPUs or CPU cores: the same trained bits for every number of ranks.", "lockstep"};
  app.set_version_flag("--version", [] { return cli::version_line(); });
  app.require_subcommand(0, 1);
  app.allow_extras();
  app.footer("lockstep COMMAND --help tells a command's options, with examples.");
  cli::add_verbs(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const CLI::App& verb = chosen(app);
    const std::string text = cli::help_text(verb, app.remaining(true));
    if (runtime.rank() == 0) fmt::print("{}", text);
    return;
  } catch (const CLI::Success& told) {  // the version
    if (runtime.rank() == 0) app.exit(told);
    return;
  } catch (const CLI::ParseError& error) {
    refuse_unknown(app, chosen(app));
    throw told(error, chosen(app));
  }
  CLI::App& command = chosen(app);
  refuse_unknown(app, command);
  if (const auto more = verbs_of(command); !more.empty())
    throw InputError("a command is missing, expected one of {} (see --help)", fmt::join(more, ", "));
  cli::complete_settings(command, app);
  const auto settings = cli::settings_json(command);
  cli::check_settings_alike(settings, runtime);
  options.settings = settings.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  options.unset = cli::unset_json(command, settings).dump();
  const std::string group = command.get_parent() == &app ? "" : command.get_parent()->get_name() + " ";
  for (const cli::Verb& verb : cli::verbs())
    if (verb.name == group + command.get_name()) verb.run(options, runtime);
}

}  // namespace

int main(int argc, char** argv) {
  lockstep::Runtime runtime;
  return runtime.guard([&] { run(argc, argv, runtime); });
}
