// One rank's engine: its variables and its planned steps. Used by the rank's own thread; all ranks make the same calls.
#pragma once

#include <array>
#include <deque>
#include <functional>
#include <optional>

#include "launch/plan/placed_network.h"
#include "launch/plan/step.h"
#include "launch/train/input_stage.h"

namespace lockstep {

/// What a step came to over the samples of its global batch.
struct StepResult {
  float loss = 0;           // their mean
  float loss_sum = 0;       // and what it is made of
  std::vector<float> sums;  // of the metrics' tallies, one after the other: see Trainer::measures
  int64_t samples = 0;
};

struct TrainerOptions {
  StepOptions step;
  Optimizer optimizer = Adam{};
  uint64_t seed = 0;
  bool check_finite = false;
  OnPass on_pass = {};  // while a step is planned
  bool replay = true;   // on a device: record a step and replay it, where all of it can be; the bits are the same
};

class Trainer {
 public:
  /// Allocates and initialises the variables; plans are made when first needed.
  /// `comm` is for buffers of the backend, `host` for host memory: `comm` itself where that is the same.
  Trainer(const Network& network, const TrainerOptions& options, Communicator& comm, Backend& backend,
          const KernelTable& kernels, Communicator* host = nullptr);

  /// Enqueues one step at learning rate `lr` on this rank's part of a global batch, which may be changed afterwards. On
  /// a device the step is under way when it returns; at most `most_pending` steps may be.
  void start(const Batch& batch, float lr);
  /// Lets the training data stay on the device, if it has `samples` samples and takes no more than half of what each of
  /// `sharing` ranks may have of the free memory; then batches must come from a feed with FeedOptions::once.
  bool keep_images(int64_t samples, int sharing);
  /// The same on the batch of the last start, which is on the device already, as the step after it.
  void start_again(float lr);
  static constexpr size_t most_pending = InputStage::slots - 1;
  size_t pending() const { return pending_.size(); }
  /// Whether the steps that were started are done.
  bool ready() const { return pending_.empty() || done_[pending_.back().slot]->reached(); }
  /// Whether `start` returns before the step is done, so that it pays to start the next one before waiting.
  bool runs_ahead() { return training().executor.stream().on_device(); }
  /// The result of the oldest step that was started and not waited for. Throws Error with the step when its loss is not
  /// finite.
  StepResult wait();
  /// One step, from start to end.
  StepResult train(const Batch& batch, float lr) {
    start(batch, lr);
    return wait();
  }
  /// Plans evaluation and takes its memory now. Throws InputError where that does not fit.
  void prepare_evaluation() { evaluation(); }
  /// As of a step, without training.
  StepResult evaluate(const Batch& batch);
  /// This rank's predictions, [lane_count * batch / lanes, …], padding included.
  std::vector<float> predict(const Batch& batch);

  /// The weights become their moving average, where the optimizer keeps one (CommonOptions::use_ema). All ranks call.
  void take_average();
  /// Returns when the steps that were started are done; their results are still waited for.
  void synchronize();
  /// Changes the variables, which no step that is under way may use (see synchronize). Throws as check_weights does.
  void set_weights(const Weights& weights);
  /// Reads of it are made by all ranks together where the strategy cuts variables.
  VariableStore& variables() { return variables_; }
  const Mesh& mesh() const { return mesh_; }
  /// What the targets of batches are, of one sample.
  Type sample_target() const { return options_.step.loss.target(network_.output_shape()); }
  /// What makes metrics of a result's sums.
  const Measures& measures() const { return measures_; }
  const StepPlan& training_plan();
  /// From now on every node of the training step is waited for and timed.
  void profile();
  /// A table of where the time of the steps since then went (see profile_table); empty where `profile` was not called.
  std::string profiled() const;
  /// What its pipeline's stages do, in words; empty where it has none.
  std::string pipeline() { return placed_.describe_stages(options_.step.lanes / mesh_.data_ranks()); }
  /// The training step without the memory that it would run in.
  Step planned() { return plan(options_.step); }

 private:
  /// A planned step with its executor.
  struct Engine {
    Engine(Step planned, Backend& backend, VariableMemory& variables);
    Step step;
    Executor executor;
    InputStage inputs;
  };
  using Plan = std::function<Step(const StepOptions&)>;
  Engine& engine(std::optional<Engine>& slot, const Plan& plan);
  Step plan(const StepOptions& options);
  Engine& training();
  Engine& evaluation();
  Engine& prediction();
  StepTarget target();
  /// Throws Error that says what the step needs, what is free, and which batch would fit.
  void check_memory(const StepPlan& plan, const Plan& plan_again) const;
  /// For what is computed from the variables once.
  void variables_changed();
  void enqueue(int64_t step, int64_t samples, const std::function<void(Engine&)>& feed);
  /// Reads the sums of the step that the engine has done or is about to do, by `read(from, to)`, to 1 +
  /// measures_.floats() floats.
  template <class Read>
  void read_sums(Engine& engine, float* to, Read&& read) const;
  float* sums_of(size_t slot) const {
    return reinterpret_cast<float*>(results_.data()) + slot * (1 + measures_.floats());
  }
  StepResult result_of(const float* sums, int64_t samples) const;

  const Network& network_;
  TrainerOptions options_;
  PlacedNetwork placed_;
  Mesh mesh_;
  Backend& backend_;
  const KernelTable& kernels_;
  Measures measures_;
  VariableStore variables_;
  Arena results_;  // of each slot, the sums of loss and tallies in host memory; outlives the steps that write it
  std::optional<Step> planned_;  // the training step, where its plan was needed before its memory
  std::optional<Engine> training_, evaluation_, prediction_;

  /// A step that was started.
  struct Pending {
    int64_t step = 0, samples = 0;
    size_t slot = 0;
  };
  std::deque<Pending> pending_;
  Pending last_;
  NodeTimes times_;
  int64_t steps_timed_ = 0;
  std::array<std::unique_ptr<Event>, InputStage::slots> done_;  // by slot
};

}  // namespace lockstep
