// What the command line's verbs share: options as given, their checks, and the model and data that they name.
#pragma once

#include <optional>
#include <string>

#include "launch/data/open.h"
#include "launch/model.h"

namespace CLI {
class App;
}

namespace lockstep::cli {

struct Options {
  std::string model = "seed_cnn";  // a name of the zoo, or a JSON file
  std::string data = "digits";
  std::string resize, normalise = "auto";
  int64_t batch = 32;
  std::optional<int64_t> epochs, steps;
  std::optional<float> lr;  // none: the optimizer's default
  float weight_decay = 0;
  std::string augment = "none";
  std::string schedule = "constant";
  int64_t warmup = 0;
  std::string optimizer = "adam";
  int lanes = 8;
  std::string numerics = "reproducible";
  std::optional<int> threads;
  std::string ranks = "auto";
  uint64_t seed = 0;
  std::string out;
  std::string strategy = "data", pipeline = "";
  std::vector<std::string> recompute;
  std::string weights;
  std::string log = "warning";
  std::string pass = "step", draw, link;
  bool quiet = false, check_finite = false, shard_optimizer = false, search = false, predict = false;
  std::string backend = "auto", precision = "fp32", comm = "auto", engines;
};

void add_model_options(CLI::App& app, Options& options);
void add_rank_options(CLI::App& app, Options& options);
void add_run_options(CLI::App& app, Options& options);
void add_compute_options(CLI::App& app, Options& options);
void add_optimizer_options(CLI::App& app, Options& options);
void add_training_options(CLI::App& app, Options& options);

/// Each throws InputError with the nearest valid value.
RunOptions run_options(const Options& options, const Runtime& runtime);
Optimizer optimizer(const Options& options);
Schedule schedule(const Options& options);
/// A zoo model for images of this shape and number of classes, or a JSON file's own.
Network network(const Options& options, const Shape& image, int64_t classes);

/// One file a verb; each runs on every rank and returns the exit code's reason by throwing.
void train(const Options& options, Runtime& runtime);
void evaluate(const Options& options, Runtime& runtime);
void summary(const Options& options);
void plan(const Options& options, Runtime& runtime);
void topology(const Options& options, Runtime& runtime);
void version();

}  // namespace lockstep::cli
