// The Keras-style model: a network with its weights, and compile, fit, evaluate, predict. A Model belongs to one
// thread; inside fit, evaluate and predict the ranks run as threads of this process, or this process is one rank of
// mpirun.
#pragma once

#include <functional>
#include <optional>

#include "launch/callback.h"
#include "launch/data/dataset.h"
#include "launch/device.h"
#include "launch/report.h"
#include "launch/runtime.h"
#include "launch/trainer.h"
#include "layers/optimizers/schedule.h"

namespace lockstep {

struct CompileOptions {
  Optimizer optimizer = Adam{};
  Loss loss = SparseCategoricalCrossentropy{};
  /// Measured in fit, evaluate and validations; "auto": accuracy, where the loss is one of classes.
  std::vector<Metric> metrics = {"auto"};
};

/// How the work is shared out. The result does not depend on `ranks`; in reproducible mode it depends on `lanes`,
/// `batch` and `threads`.
struct RunOptions {
  int64_t batch = 32;
  int lanes = 8;
  Numerics numerics = Numerics::reproducible;
  int ranks = 0;    // threads of this process that are ranks; 0: as many as keep the cores busy. Not under mpirun.
  int threads = 0;  // a rank; 0: 1 in reproducible mode, else the cores divided by the ranks
  int workers = 0;  // threads a rank that read and augment; 0: 1 on the CPU, else the cores divided by the ranks
  uint64_t seed = 0;
  bool check_finite = false;
  Precision precision = Precision::fp32;
  BackendChoice backend = BackendChoice::automatic;
  CommChoice comm = CommChoice::automatic;
  Strategy strategy = {};                   // how the work on a lane is shared by several ranks, where it is
  std::vector<std::string> recompute = {};  // patterns of layers that backward computes again: memory for time
  std::filesystem::path engines = {};  // of an earlier run, to compute with the same algorithms; empty: chosen anew

  StepOptions step() const {
    return {.batch = batch,
            .lanes = lanes,
            .numerics = numerics,
            .precision = precision,
            .strategy = strategy,
            .recompute = recompute};
  }
};

struct FitOptions {
  std::optional<int64_t> epochs = {};  // none: as many as `steps` takes, else 1
  std::optional<int64_t> steps = {};   // stop after so many; none: no limit but the epochs
  bool shuffle = true;
  Augmentation augmentation = {};
  Schedule schedule = {};  // of the learning rate, over this fit's steps
  RunOptions run;
  std::shared_ptr<const Dataset> validation_data = {};  // evaluated behind epochs, into their reports
  int64_t validation_freq = 1;                          // behind every so manieth epoch
  Callbacks callbacks = {};
};

/// How long a fit is.
struct FitLength {
  int64_t epochs = 0, steps_per_epoch = 0, steps = 0;  // the last epoch is short where the steps end before it does
};

struct History {
  std::vector<Report> epochs;
  int64_t steps = 0;  // that were made: fewer than FitLength's where a callback stopped the fit
};

class Model {
 public:
  /// `runtime` must outlive the model.
  Model(Network network, Runtime& runtime) : network_(std::move(network)), runtime_(runtime) {}

  const Network& network() const { return network_; }
  std::string summary() const { return network_.summary(); }

  /// Starts the optimizer anew; weights are kept. Throws InputError where a metric does not go with the loss, and
  /// for an optimizer's option out of range.
  void compile(const CompileOptions& options);
  /// Throws InputError where fit would: data and network do not match, batch, lanes and ranks do not divide, a number
  /// is out of range.
  FitLength check(const Dataset& data, const FitOptions& options) const;
  /// Trains. Called again, it goes on with the next epoch: weights, optimizer, a learning rate that a callback has set,
  /// and step count are kept. Throws as check does, and what callbacks throw.
  History fit(std::shared_ptr<const Dataset> data, const FitOptions& options);
  Evaluation evaluate(std::shared_ptr<const Dataset> data, const RunOptions& options);
  /// The network's outputs, [samples, …]: class probabilities, where it ends in a softmax.
  std::vector<float> predict(std::shared_ptr<const Dataset> data, const RunOptions& options);
  /// The training step of rank 0 as text: the graph after the pass "network", "fuse", "autodiff", "place" or "reduce",
  /// or the planned "step", or "layers": a table of what lies where and what moves, or "svg": a picture of it. Throws
  /// InputError with the nearest name.
  std::string plan(const RunOptions& options, const std::string& pass = "step");

  /// By variable name; empty before the first fit where nothing was set.
  const Weights& weights() const { return weights_; }
  void set_weights(Weights weights) { weights_ = std::move(weights); }
  /// Of the weights after the last fit or evaluate.
  const std::string& weights_sha256() const { return weights_sha256_; }

  /// As JSON, which algorithms the libraries were told to use in the last run on GPUs; empty on the CPU.
  const std::string& engines() const { return engines_; }
  /// What moved data between ranks in the last fit: "local", "mpi" or "nccl".
  const std::string& exchange() const { return exchange_; }

  /// Ranks and threads that a run with these options gets.
  int ranks(const RunOptions& options) const;
  /// The strategy with as many stages as there are ranks for, where it leaves that open (see settle_stages).
  Strategy settled(const RunOptions& options) const;
  int threads(const RunOptions& options) const;
  int workers(const RunOptions& options) const;

 private:
  using Body = std::function<void(RankContext&, Trainer&, Device&)>;
  /// Runs `body` on each rank with its device and a trainer that holds the model's weights.
  void on_ranks(const RunOptions& options, const Body& body, const OnPass& on_pass = {});
  void check_images(const Dataset& data) const;
  /// And that the loss takes the data's targets.
  void check_targets(const Dataset& data) const;
  void keep(RankContext& rank, Trainer& trainer, const Device& device);

  /// What a run leaves; taken over when all ranks have ended well.
  struct Kept {
    Weights weights;
    std::vector<Weights> slots;
    std::string sha256, engines, exchange;
    LossScale loss_scale;
  };

  Network network_;
  Runtime& runtime_;
  Kept kept_;
  Optimizer optimizer_ = Adam{};
  Loss loss_ = SparseCategoricalCrossentropy{};
  std::vector<Metric> metrics_ = {"auto"};
  Weights weights_;
  std::vector<Weights> slots_;
  std::optional<LossScale> loss_scale_;
  std::string weights_sha256_, engines_, exchange_;
  int64_t steps_done_ = 0, epochs_done_ = 0;  // since compile
};

}  // namespace lockstep
