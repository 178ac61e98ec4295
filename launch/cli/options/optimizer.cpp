// How weights change: the optimizer, and the learning rate over a run.
#include <CLI/CLI.hpp>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "launch/cli/options/options.h"

namespace lockstep::cli {

namespace {

struct Named {
  const char* name;  // as the optimizer or schedule calls it
  const char* help;
  bool flag = false;
};

constexpr Named optimizer_options[] = {
    {"weight_decay", "Times the weights is added to the gradient (L2); adamw decays the weights by lr times it"},
    {"exclude_bias_and_norm", "Weight decay, and lars and lamb, skip variables of one dimension: 1 or 0"},
    {"momentum", "Of sgd, rmsprop, lars"},
    {"nesterov", "sgd: look ahead along the momentum", true},
    {"beta_1", "Of adam, adamw, lamb: what is kept of the mean"},
    {"beta_2", "Of adam, adamw, lamb: what is kept of the squares"},
    {"epsilon", "Of all but sgd: added to what is divided by"},
    {"rho", "rmsprop: what is kept of the squares"},
    {"centered", "rmsprop: divide by the deviation from the mean", true},
    {"initial_accumulator_value", "adagrad: what the squares are added to"},
    {"eeta", "lars: the trust coefficient"},
    {"clipvalue", "Keep each element of the mean gradient within ± this"},
    {"clipnorm", "Keep the norm of each variable's gradient below this"},
    {"global_clipnorm", "Keep the norm of all gradients together below this"},
    {"lookahead_steps", "Lookahead: every so many steps go back to alpha between the slow weights and these"},
    {"lookahead_alpha", "Lookahead: how far the slow weights go"},
    {"use_ema", "Keep a moving average of the weights, which is what is tested and written in the end", true},
    {"ema_momentum", "What the average keeps of itself a step"},
};

constexpr Named schedule_options[] = {
    {"warmup", "Steps in which the learning rate rises to its full value (default: 0)"},
    {"final_lr", "linear, cosine, cosine_restarts, polynomial: the rate in the end (default: 0)"},
    {"power", "polynomial (default: 1)"},
    {"decay_rate", "exponential: the factor of decay_steps (default: 0.96)"},
    {"decay_steps", "exponential, and the first cycle of cosine_restarts (default: the run's)"},
    {"t_mul", "cosine_restarts: each cycle is so many times as long as the last (default: 2)"},
    {"pct_start", "one_cycle: the rising part of the run (default: 0.3)"},
    {"div_factor", "one_cycle: it begins at lr / this (default: 25)"},
    {"final_div_factor", "one_cycle: it ends at its beginning / this (default: 10000)"},
};

std::string dashed(std::string name) {
  std::ranges::replace(name, '_', '-');
  return "--" + name;
}

void add(CLI::App& verb, std::span<const Named> all, NamedNumbers& given) {
  for (const Named& one : all) {
    const std::string name = one.name;
    if (one.flag)
      verb.add_flag_callback(
          dashed(name), [&given, name] { given.emplace_back(name, 1); }, one.help);
    else
      verb.add_option_function<double>(
          dashed(name), [&given, name](double value) { given.emplace_back(name, value); }, one.help);
  }
}

}  // namespace

void add_optimizer_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Optimizer");
  verb.add_option("--optimizer", options.optimizer, "What changes the weights; momentum is sgd with momentum 0.9")
      ->type_name(alternatives(Optimizer::names()))
      ->capture_default_str();
  verb.add_option("--lr", options.lr, "Learning rate (default: the optimizer's)");
  verb.add_option("--scale-lr", options.scale_lr,
                  "The learning rate is for a batch of this size: multiply it by batch / this (Goyal et al. 2017)");
  add(verb, optimizer_options, options.optimizer_options);
  verb.add_option("--accumulate", options.accumulate,
                  "Batches whose gradients are summed for one update (a power of two): the same as so many times the "
                  "batch and the lanes, bit by bit, in about the memory of one batch")
      ->capture_default_str();
}

void add_schedule_options(CLI::App& verb, Options& options) {
  verb.option_defaults()->group("Optimizer");
  verb.add_option("--schedule", options.schedule, "Of the learning rate, by update")
      ->type_name(alternatives(Schedule::names()))
      ->capture_default_str();
  add(verb, schedule_options, options.schedule_options);
}

Optimizer optimizer(const Options& options) {
  Optimizer chosen = Optimizer::from_name(options.optimizer);
  if (options.lr && (!(*options.lr > 0) || !std::isfinite(*options.lr)))
    throw InputError("--lr is {}, expected a number above 0", *options.lr);
  if (options.lr) chosen.set_lr(*options.lr);
  for (const auto& [name, value] : options.optimizer_options) chosen.set(name, value);
  chosen.check();
  if (!options.scale_lr) return chosen;
  if (*options.scale_lr < 1) throw InputError("--scale-lr is {}, expected a batch size from 1", *options.scale_lr);
  const auto batch = static_cast<double>(options.computing.batch * options.accumulate);
  chosen.set_lr(static_cast<float>(double{chosen.lr()} * batch / static_cast<double>(*options.scale_lr)));
  return chosen;
}

Schedule schedule(const Options& options) {
  Schedule chosen = Schedule::from_name(options.schedule);
  for (const auto& [name, value] : options.schedule_options) chosen.set(name, value);
  return chosen;
}

void accumulate(const Options& options, RunOptions& run) {
  const int64_t n = options.accumulate;
  if (n < 1 || n > 4096 || !std::has_single_bit(static_cast<uint64_t>(n)))
    throw InputError("--accumulate is {}, expected a power of two from 1 to 4096", n);
  if (n > 1 && run.numerics == Numerics::fast)
    throw InputError(
        "--accumulate {}: fast numerics computes a rank's part of the batch at once; expected reproducible "
        "numerics",
        n);
  // A batch's lanes are computed one after the other already: more of them take no more memory, but for their images
  // and a few partial sums.
  run.batch *= n;
  run.lanes *= static_cast<int>(n);
}

}  // namespace lockstep::cli
