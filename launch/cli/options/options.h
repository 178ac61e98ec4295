// What the command line's verbs share: options as given, their checks, and the model and data that they name.
#pragma once

#include <optional>
#include <string>

#include "launch/data/readers/open.h"
#include "launch/model/model.h"

namespace CLI {
class App;
}

namespace lockstep::cli {

/// Options given of an optimizer or a schedule, by the names that these have for them.
using NamedNumbers = std::vector<std::pair<std::string, double>>;

/// By topic, in the order of the options_*.cpp files that add and check them.
struct Options {
  // Model and data.
  std::string model = "seed_cnn";  // a name of the zoo, or a JSON file
  std::string data = "digits";
  std::string resize, normalise = "auto", on_corrupt = "stop";
  int channels = 3;
  bool channels_first = false;
  std::string validation_split;
  bool cache = false;

  // Ranks and computing.
  std::string ranks = "auto";
  std::string log = "warning";
  std::string strategy = "data", pipeline = "";
  bool shard_optimizer = false;
  RunOptions computing;  // as given, without those above: see run_options

  // Optimizer and schedule.
  std::string optimizer = "adam";
  std::optional<float> lr;  // none: the optimizer's default
  std::optional<int64_t> scale_lr;
  int64_t accumulate = 1;
  std::string schedule = "constant";
  NamedNumbers optimizer_options, schedule_options;

  // Loss and metrics.
  std::string loss = "sparse_categorical_crossentropy";
  float label_smoothing = 0;
  std::vector<std::string> metrics{"auto"};

  // Training.
  std::optional<int64_t> epochs, steps;
  std::string augment = "none";
  std::optional<int64_t> early_stopping;
  std::string reduce_on_plateau;
  bool checkpoint_best = false, csv = false, tensorboard = false;
  bool estimate = false, quiet = false;
  std::string out;

  // Checkpoints.
  std::string checkpoint_every, checkpoint_dir, resume;
  int64_t keep = 3;

  // Of one verb alone.
  std::string weights, action;
  std::string pass = "step", draw, link;
  bool search = false;
  std::string shell;
  std::string run;                 // the folder of a training run
  std::vector<std::string> files;  // images
  int top = 3;
  std::string format, output;

  std::string config;    // the file that options were read from
  std::string settings;  // all of the verb's options, as JSON that --config takes
  std::string unset;     // what those are that have no value: see unset_json
};

/// The values that an option can have, as its type in the help says them: "auto|cpu|cuda".
std::string alternatives(const std::vector<std::string>& names);
/// Ends a type of which several may be given, with commas between.
constexpr const char* several = ",...";
/// What --format takes.
const std::vector<std::string>& prediction_formats();
const std::vector<std::string>& export_formats();  // those of weights, then the model and the preparation

/// A choice as the command line calls it.
const std::vector<std::string>& numerics_names();
std::string name_of(Numerics numerics);
std::string name_of(BackendChoice backend);
std::string name_of(CommChoice comm);

/// Adds the one of RunOptions that is called so.
void add_run_option(CLI::App& verb, RunOptions& run, std::string_view name);
/// Each adds the options of one topic, under its heading in the help.
void add_model_options(CLI::App& verb, Options& options);
void add_data_options(CLI::App& verb, Options& options);
void add_reading_options(CLI::App& verb, Options& options);  // those of data but which
void add_pack_options(CLI::App& verb, Options& options);
void add_info_options(CLI::App& verb, Options& options);
void add_normalise_options(CLI::App& verb, Options& options);
void add_rank_options(CLI::App& verb, Options& options);
void add_run_options(CLI::App& verb, Options& options);  // those of ranks too
void add_compute_options(CLI::App& verb, Options& options);
void add_optimizer_options(CLI::App& verb, Options& options);
void add_loss_options(CLI::App& verb, Options& options);
void add_schedule_options(CLI::App& verb, Options& options);
void add_training_options(CLI::App& verb, Options& options);
void add_checkpoint_options(CLI::App& verb, Options& options);
void add_plan_options(CLI::App& verb, Options& options);
void add_selftest_options(CLI::App& verb, Options& options);
void add_weights_options(CLI::App& verb, Options& options);
void add_predict_options(CLI::App& verb, Options& options);
void add_export_options(CLI::App& verb, Options& options);
void add_completion_options(CLI::App& verb, Options& options);
void add_config_options(CLI::App& verb, Options& options);

/// Each throws InputError with the nearest valid value.
RunOptions run_options(const Options& options, const Runtime& runtime);
Optimizer optimizer(const Options& options);
Schedule schedule(const Options& options);
DataOptions data_options(const Options& options, const Runtime& runtime);
/// Those that the options ask for; `validates`: whether epochs end with a validation; `goes_on`: with a run from
/// before.
Callbacks callbacks(const Options& options, bool validates, bool goes_on);
/// Makes the run's batches and lanes those of one update.
void accumulate(const Options& options, RunOptions& run);
CheckpointOptions checkpoints(const Options& options);
Loss loss(const Options& options);
/// The same, refused where it takes other targets than --data has.
Loss loss_of_data(const Options& options);
std::vector<Metric> metrics(const Options& options);
/// A zoo model for images of this shape and number of classes, or a JSON file's own.
Network network(const Options& options, const Shape& image, int64_t classes);

/// "test accuracy 97.50 %" and the like, of the set "test": a line a metric, and the rows of a confusion matrix.
void print_metrics(std::string_view set, const std::vector<MetricValue>& metrics);

}  // namespace lockstep::cli
