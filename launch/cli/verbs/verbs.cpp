#include "launch/cli/verbs/verbs.h"
#include "launch/cli/options/options.h"

#include <fmt/ranges.h>

#include <CLI/CLI.hpp>

namespace lockstep::cli {

namespace {

/// The command that `name` stands for, below the group of its first word where it has two.
CLI::App& add_command(CLI::App& program, const Verb& verb) {
  const size_t space = verb.name.find(' ');
  if (space == std::string::npos) return *program.add_subcommand(verb.name, verb.help);
  const std::string group = verb.name.substr(0, space);
  const auto known = program.get_subcommands([&](const CLI::App* app) { return app->get_name() == group; });
  CLI::App* parent = known.empty() ? program.add_subcommand(group, fmt::format("See {} --help", group)) : known[0];
  parent->require_subcommand(0, 1);
  parent->allow_extras();
  return *parent->add_subcommand(verb.name.substr(space + 1), verb.help);
}

}  // namespace

std::span<const Verb> verbs() {
  static const std::vector<Verb> all{
      {.name = "train",
       .help = "Train a model and test it",
       .examples = {"train --data digits --resize 32 --epochs 3",
                    "train --model seed_cnn --data idx:DIR --epochs 5 --batch 64 --out runs/first",
                    "train --config runs/first/manifest.json --out runs/again",
                    "train --config runs/first/manifest.json --resume runs/first"},
       .options = {add_model_options, add_normalise_options, add_training_options, add_loss_options,
                   add_checkpoint_options, add_optimizer_options, add_schedule_options, add_run_options,
                   add_compute_options, add_config_options},
       .run = train},
      {.name = "evaluate",
       .help = "Test trained weights",
       .examples = {"evaluate --model seed_cnn --data idx:DIR --weights runs/first/weights.safetensors",
                    "evaluate --run runs/first"},
       .options = {add_weights_options, add_model_options, add_normalise_options, add_loss_options, add_run_options,
                   add_compute_options, add_config_options},
       .run = evaluate},
      {.name = "predict",
       .help = "Print the most probable classes of images, with their probabilities",
       .examples = {"predict --run runs/first photo.jpg other.png",
                    "predict --run runs/first --data idx:DIR --top 1 --format csv --output predictions.csv",
                    "predict --model lenet5 --weights weights.safetensors --data digits --resize 28 --format json"},
       .options = {add_predict_options, add_weights_options, add_model_options, add_normalise_options, add_run_options,
                   add_config_options},
       .run = predict},
      {.name = "export",
       .help = "Write weights for PyTorch or Keras, or the model as JSON",
       .examples = {"export --run runs/first --output model.safetensors",
                    "export --run runs/first --format json --output model.json"},
       .options = {add_export_options, add_weights_options, add_model_options, add_normalise_options,
                   add_config_options},
       .run = export_model},
      {.name = "summary",
       .help = "Print a model's layers, shapes and parameters",
       .examples = {"summary --model resnet50 --data synthetic:224x224x3/1000/1"},
       .options = {add_model_options, add_config_options},
       .run = summary},
      {.name = "plan",
       .help = "Print the planned training step: nodes, placements, memory, reductions",
       .examples = {"plan --model resnet18 --resize 32 --pass layers --strategy space_h=2",
                    "plan --model resnet18 --resize 32 --search --ranks 2"},
       .options = {add_model_options, add_plan_options, add_loss_options, add_optimizer_options, add_run_options,
                   add_config_options},
       .run = plan},
      {.name = "topology",
       .help = "Print ranks, hosts, GPUs and links, and measure their bandwidths",
       .examples = {"topology --ranks 2"},
       .options = {add_rank_options, add_config_options},
       .run = topology},
      {.name = "selftest",
       .help = "Test that ranks, links and devices do what training counts on",
       .examples = {"selftest", "selftest --ranks 4 --output selftest.json"},
       .options = {add_rank_options, add_selftest_options, add_config_options},
       .run = selftest},
      {.name = "pack",
       .help = "Write a data set into one file that is read fast, as --data packed:FILE",
       .examples = {"pack images:DIR photos.pack", "pack cifar10:DIR cifar10.pack"},
       .options = {add_pack_options, add_reading_options},
       .run = pack},
      {.name = "data",
       .help = "Read a data set (data info DATA) and print what it holds: sizes, classes, mean, corrupt files",
       .examples = {"data info images:DIR", "data info idx:DIR"},
       .options = {add_info_options, add_reading_options},
       .run = data},
      {.name = "version",
       .help = "Print versions of Lockstep and of all that it is linked with",
       .examples = {"version"},
       .options = {},
       .run = version},
      {.name = "completion",
       .help = "Print what makes a shell complete commands, options and their values",
       .examples = {"completion bash > ~/.local/share/bash-completion/completions/lockstep",
                    "completion zsh > ~/.zfunc/_lockstep",
                    "completion fish > ~/.config/fish/completions/lockstep.fish"},
       .options = {add_completion_options},
       .run = completion},
  };
  return all;
}

void add_verbs(CLI::App& program, Options& options) {
  program.option_defaults()->take_last();  // so that a script's options can be followed by others
  for (const Verb& verb : verbs()) {
    CLI::App& command = add_command(program, verb);
    for (const auto add : verb.options) add(command, options);
    command.allow_extras();
    command.footer(fmt::format("{}\n  lockstep {}", verb.examples.size() == 1 ? "Example:" : "Examples:",
                               fmt::join(verb.examples, "\n  lockstep ")));
  }
}

}  // namespace lockstep::cli
