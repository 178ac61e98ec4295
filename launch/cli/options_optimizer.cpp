// How weights change: the optimizer, and the learning rate over a run.
#include <CLI/CLI.hpp>
#include <cmath>

#include "core/error.h"
#include "launch/cli/options.h"

namespace lockstep::cli {

void add_optimizer_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Optimizer");
  verb.add_option("--optimizer", options.optimizer, "adam, sgd, or momentum (sgd with momentum 0.9)")
      ->capture_default_str();
  verb.add_option("--lr", options.lr, "Learning rate (default: the optimizer's)");
  verb.add_option("--weight-decay", options.weight_decay,
                  "L2 penalty: this times the weights is added to the gradient");
}

void add_schedule_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Optimizer");
  verb.add_option("--schedule", options.schedule,
                  "Of the learning rate: constant, step (/10 at 1/2 and 3/4), linear or cosine (to 0)")
      ->capture_default_str();
  verb.add_option("--warmup", options.warmup, "Steps in which the learning rate rises to its full value")
      ->capture_default_str();
}

Optimizer optimizer(const Options& options) {
  Optimizer chosen = Optimizer::from_name(options.optimizer);
  if (options.lr && (!(*options.lr > 0) || !std::isfinite(*options.lr)))
    throw InputError("--lr is {}, expected a number above 0", *options.lr);
  if (options.lr) chosen.set_lr(*options.lr);
  if (!(options.weight_decay >= 0) || !std::isfinite(options.weight_decay))
    throw InputError("--weight-decay is {}, expected a number from 0", options.weight_decay);
  chosen.set_weight_decay(options.weight_decay);
  return chosen;
}

Schedule schedule(const Options& options) {
  Schedule chosen = Schedule::from_name(options.schedule);
  if (options.warmup < 0) throw InputError("--warmup is {}, expected a number of steps from 0", options.warmup);
  chosen.warmup = options.warmup;
  return chosen;
}

}  // namespace lockstep::cli
