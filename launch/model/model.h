// The Keras-style model: a network with its weights, and compile, fit, evaluate, predict. A Model belongs to one
// thread; inside fit, evaluate and predict the ranks run as threads of this process, or this process is one rank of
// mpirun.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "launch/data/dataset.h"
#include "launch/data/feed/augment.h"
#include "launch/host/runtime.h"
#include "launch/model/run.h"
#include "launch/train/callback.h"
#include "layers/optimizers/optimizer.h"
#include "layers/optimizers/schedule.h"

namespace lockstep {

struct CompileOptions {
  Optimizer optimizer = Adam{};
  Loss loss = SparseCategoricalCrossentropy{};
  /// Measured in fit, evaluate and validations; "auto": accuracy, where the loss is one of classes.
  std::vector<Metric> metrics = {"auto"};
};

/// When checkpoints are written; see checkpoint.h.
struct CheckpointOptions {
  std::filesystem::path directory = {};       // of all of them; none: no checkpoints
  int64_t every_steps = 0, every_epochs = 0;  // of the fit; 0: not by these
  int64_t keep = 3;                           // so many stay, the newest
};

struct FitOptions {
  std::optional<int64_t> epochs = {};  // none: as many as `steps` takes, else 1
  std::optional<int64_t> steps = {};   // stop after so many; none: no limit but the epochs
  bool shuffle = true;
  Augmentation augmentation = {};
  Schedule schedule = {};  // of the learning rate, over this fit's steps
  RunOptions run;
  std::shared_ptr<const Dataset> validation_data = {};  // evaluated after epochs, into their reports
  int64_t validation_freq = 1;                          // every N epochs
  Callbacks callbacks = {};
  CheckpointOptions checkpoints = {};
  /// Asked by each rank between steps. Where it says so on one rank, all stop after the same step, with a checkpoint
  /// where these have a directory. None: nothing is asked.
  std::function<bool()> stop_requested = {};
  double stop_within = 0.5;  // seconds: how often ranks ask each other about it, which takes a message
};

/// How long a fit is.
struct FitLength {
  int64_t epochs = 0, steps_per_epoch = 0, steps = 0;  // the last epoch is short where the steps end before it does
};

/// What Model::check finds of a fit.
struct CheckedFit {
  FitLength length;
  ResolvedRun run;
};

struct History {
  std::vector<Report> epochs;
  /// What was trained on in the last epoch that ended before this fit went on with it: without times and validation.
  std::optional<Report> last_before = {};
  int64_t steps = 0;  // of the fit that were made: fewer than FitLength's where the fit was stopped or interrupted
  bool interrupted = false;  // by FitOptions::stop_requested: then the next fit goes on in the same epoch
};

/// What Model::plan can show.
const std::vector<std::string>& pass_names();

class Model {
 public:
  /// `runtime` must outlive the model.
  Model(Network network, Runtime& runtime);
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;
  ~Model();

  const Network& network() const;
  std::string summary() const { return network().summary(); }

  /// Restarts the optimizer; weights are kept. Throws InputError where a metric does not go with the loss, and
  /// for an optimizer's option out of range.
  void compile(const CompileOptions& options);
  /// Throws InputError where fit would: data and network do not match, batch, lanes and ranks do not divide, a number
  /// is out of range.
  CheckedFit check(const Dataset& data, const FitOptions& options) const;
  /// Trains. Called again, it goes on with the next epoch: weights, optimizer, a learning rate that a callback has set,
  /// and step count are kept. Throws as check does, what callbacks throw, and Error where a loss is not finite, or the
  /// weights in the end are not; then the model stays as it was before.
  /// After an interruption, or `resume`, it is the same fit that goes on, and its history begins there.
  History fit(std::shared_ptr<const Dataset> data, const FitOptions& options);
  /// Takes everything from a checkpoint of a fit with these options (see open_checkpoint), so that `fit` with them goes
  /// on from there with the bits that it would have had without a break. Ranks, strategy and checkpoints may be others.
  /// Throws InputError where the checkpoint is broken, and where it is one of another model, data, or options that
  /// decide the bits, with both values.
  void resume(const std::filesystem::path& checkpoint, const Dataset& data, const FitOptions& options);
  /// Steps of a fit under way that are done already: 0 but after an interruption or `resume`.
  int64_t steps_resumed() const;
  Evaluation evaluate(std::shared_ptr<const Dataset> data, const RunOptions& options);
  /// The network's outputs, [samples, …]: class probabilities, where it ends in a softmax.
  std::vector<float> predict(std::shared_ptr<const Dataset> data, const RunOptions& options);
  /// The training step of rank 0 as text, as one of pass_names() leaves it: the graph, or what runs on which stream and
  /// waits for what ("synchronise"), or the planned "step", or "layers": a table of what lies where and what moves, or
  /// "svg": a picture of it. Throws InputError with the nearest name.
  std::string plan(const RunOptions& options, const std::string& pass = "step");

  /// By variable name; empty before the first fit where nothing was set.
  const Weights& weights() const;
  void set_weights(Weights weights);
  /// To a safetensors file. Throws Error where the model has no weights yet, or some that are not finite.
  void save_weights(const std::filesystem::path& path) const;
  /// From a safetensors file or a checkpoint. Throws InputError where its variables are not the model's.
  void load_weights(const std::filesystem::path& path);
  /// Of the weights after the last fit or evaluate.
  const std::string& weights_sha256() const;

  /// As JSON, which algorithms the libraries were told to use in the last run on GPUs; empty on the CPU.
  const std::string& engines() const;
  /// Where the time of the last fit's steps went, as a table (see profile_table); empty without RunOptions::profile.
  const std::string& profiled() const;
  /// What moved data between ranks in the last fit: "local", "mpi" or "nccl".
  const std::string& exchange() const;

  /// What a run with these options comes to, with the loss and the metrics that were compiled. Throws InputError as
  /// lockstep::resolve does.
  ResolvedRun resolve(const RunOptions& options) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lockstep
