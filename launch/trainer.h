// One rank's engine: its variables and its planned steps. Used by the rank's own thread; all ranks make the same calls.
#pragma once

#include <optional>

#include "launch/data/feed.h"
#include "launch/step.h"

namespace lockstep {

/// Sums over a global batch, divided by its samples.
struct StepResult {
  float loss = 0;
  float accuracy = 0;
};

struct TrainerOptions {
  StepOptions step;
  Optimizer optimizer = Adam{};
  uint64_t seed = 0;
  bool check_finite = false;
  OnPass on_pass = {};  // while a step is planned
};

class Trainer {
 public:
  /// Allocates and initialises the variables; plans are made when first needed.
  Trainer(const Network& network, const TrainerOptions& options, Communicator& comm, Backend& backend,
          const KernelTable& kernels);

  /// One step at learning rate `lr` on this rank's part of a global batch. Throws Error with the step when the loss is
  /// not finite.
  StepResult train(const Batch& batch, float lr);
  /// Sums of loss and of correct predictions over the global batch, not divided.
  StepResult evaluate(const Batch& batch);
  /// This rank's predictions, [lane_count * batch / lanes, …], padding included.
  std::vector<float> predict(const Batch& batch);

  VariableStore& variables() { return variables_; }
  const StepPlan& training_plan();

 private:
  /// A planned step with its executor.
  struct Engine {
    Step step;
    Executor executor;
  };
  using Plan = Step (*)(const Network&, const StepOptions&, const StepTarget&);
  Engine& engine(std::optional<Engine>& slot, Step step);
  Engine& training();
  Engine& inference(std::optional<Engine>& slot, Plan plan);
  void feed(Engine& engine, const Batch& batch, float lr = 0) const;
  StepResult sums(const Engine& engine) const;

  const Network& network_;
  TrainerOptions options_;
  Communicator& comm_;
  Backend& backend_;
  const KernelTable& kernels_;
  VariableStore variables_;
  std::optional<Engine> training_, evaluation_, prediction_;
};

}  // namespace lockstep
