// The lockstep command. Exit codes: 0 done, 1 something failed, 2 bad input.
#include <CLI/CLI.hpp>

#include "core/error.h"
#include "launch/cli/options.h"

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
  auto* train = app.add_subcommand("train", "Train a model and test it");
  auto* evaluate = app.add_subcommand("evaluate", "Test trained weights");
  auto* summary = app.add_subcommand("summary", "Print a model's layers, shapes and parameters");
  auto* plan = app.add_subcommand("plan", "Print the planned training step: nodes, placements, memory, reductions");
  auto* topology = app.add_subcommand("topology", "Print ranks, hosts, GPUs and links, and measure their bandwidths");
  app.add_subcommand("version", "Print versions of Lockstep and of all that it is linked with");
  for (auto* verb : {train, evaluate, summary, plan}) cli::add_model_options(*verb, options);
  for (auto* verb : {train, evaluate, plan}) cli::add_run_options(*verb, options);
  for (auto* verb : {train, evaluate}) cli::add_compute_options(*verb, options);
  for (auto* verb : {train, plan}) cli::add_optimizer_options(*verb, options);
  cli::add_training_options(*train, options);
  cli::add_rank_options(*topology, options);
  plan->add_flag("--search", options.search,
                 "Time all strategies of --ranks ranks on this machine, and print them by their predicted time");
  plan->add_option("--link", options.link,
                   "With --search: LATENCY_US,GB_PER_S between two ranks, such as 5,12.5, instead of what two threads "
                   "of this machine are measured to have");
  plan->add_option("--draw", options.draw, "Write a picture of where each layer lies to this file (SVG)");
  plan->add_option("--pass", options.pass,
                   "The graph after a pass: network, fuse, autodiff, place or reduce; step; or "
                   "layers: a table of what lies where and what moves")
      ->capture_default_str();
  evaluate->add_option("--weights", options.weights, "A weights.safetensors file")->required();

  app.allow_extras();
  for (auto* verb : app.get_subcommands([](const CLI::App*) { return true; })) verb->allow_extras();
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
    throw InputError(
        "a command is missing, expected one of train, evaluate, summary, plan, topology, version (see --help)");
  const std::string verb = chosen().get_name();
  if (verb == "train") cli::train(options, runtime);
  if (verb == "evaluate") cli::evaluate(options, runtime);
  if (verb == "plan") cli::plan(options, runtime);
  if (verb == "topology") cli::topology(options, runtime);
  const bool speaks = runtime.rank() == 0;
  if (verb == "summary" && speaks) cli::summary(options);
  if (verb == "version" && speaks) cli::version();
}

}  // namespace

int main(int argc, char** argv) {
  lockstep::Runtime runtime;
  return runtime.guard([&] { run(argc, argv, runtime); });
}
