// What a training run does beside a step: its length, augmentation, what it prints and leaves; and options of single
// verbs.
#include <CLI/CLI.hpp>

#include "core/log.h"
#include "launch/cli/options/options.h"

namespace lockstep::cli {

/// Keeps the name that a flag once had, which help does not show any more.
static void add_former_flag(CLI::App& verb, const char* former, const char* name, bool& value) {
  verb.add_flag_callback(former,
                         [=, &value] {
                           value = true;
                           log().warn("{} is called {} now", former, name);
                         })
      ->group("");
}

void add_training_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Training");
  verb.add_option("--epochs", options.epochs, "Passes over the training set (default: 1, or what --steps takes)");
  verb.add_option("--steps", options.steps, "Stop after so many steps");
  verb.add_option("--augment", options.augment, "Random changes to training images: one, or some with commas between")
      ->type_name("none|" + alternatives(Augmentation::forms()) + several)
      ->capture_default_str();
  verb.add_option("--early-stopping", options.early_stopping,
                  "Stop after so many epochs without a better validation loss, with the weights of the best epoch");
  verb.add_option("--reduce-on-plateau", options.reduce_on_plateau,
                  "FACTOR,PATIENCE: multiply the learning rate by FACTOR after PATIENCE epochs without a better "
                  "validation loss");
  verb.add_flag("--checkpoint-best", options.checkpoint_best,
                "Write the weights of the epoch with the best validation loss to best.safetensors");
  verb.add_flag("--csv", options.csv, "Write a line an epoch to log.csv");
  verb.add_flag("--tensorboard", options.tensorboard,
                "Write event files with scalars and histograms of the weights to the folder tensorboard");
  verb.add_flag("--estimate", options.estimate,
                "Estimate the time of a step first, as plan --search does, and compare it with the run's; the bits are "
                "the same");
  add_former_flag(verb, "--predict", "--estimate", options.estimate);
  add_run_option(verb, options.computing, "profile");
  verb.add_flag("--quiet", options.quiet, "Print the results only");
  verb.add_option("--out", options.out, "Folder for manifest.json, metrics.jsonl and weights.safetensors")
      ->type_name("DIR");
}

void add_plan_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Plan");
  verb.add_flag("--search", options.search,
                "Time all strategies of --ranks ranks on this machine, and print them by their estimated time");
  verb.add_option("--link", options.link,
                  "With --search: LATENCY_US,GB_PER_S between two ranks, such as 5,12.5, instead of what two threads "
                  "of this machine are measured to have");
  verb.add_option("--draw", options.draw, "Write a picture of where each layer lies to this file (SVG)")
      ->type_name("FILE");
  verb.add_option(
          "--pass", options.pass,
          "The graph after a pass; synchronise: streams, and what waits for what; step: as it is run; layers: a "
          "table of what lies where and what moves; svg: a picture of it")
      ->type_name(alternatives(pass_names()))
      ->capture_default_str();
}

void add_selftest_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Self-test");
  for (const char* name : {"backend", "comm", "seed"}) add_run_option(verb, options.computing, name);
  verb.add_option("--output", options.output, "Write the report to this JSON file, too")->type_name("FILE");
}

void add_config_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Settings");
  verb.add_option("--config", options.config,
                  "Options from this JSON file, or from a run's manifest.json. The environment wins over it (such as "
                  "LOCKSTEP_BATCH=64 for --batch 64), and what is given here over both")
      ->type_name("FILE");
}

}  // namespace lockstep::cli
