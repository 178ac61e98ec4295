// From a network to planned steps: runs the passes in their order, for training and for evaluation.
#pragma once

#include <functional>
#include <optional>

#include "core/plan/step_plan.h"
#include "launch/plan/variables.h"
#include "layers/losses/loss.h"
#include "layers/metrics/metric.h"
#include "layers/optimizers/optimizer.h"
#include "layers/passes/precision.h"
#include "parallel/mesh/mesh_op.h"
#include "parallel/placement/buckets.h"

namespace lockstep {

struct StepOptions {
  int64_t batch = 32;  // global
  int lanes = 8;       // the global batch is cut into these
  Numerics numerics = Numerics::reproducible;
  Precision precision = Precision::fp32;
  std::optional<bool> loss_scaling = std::nullopt;  // none: where the precision is fp16
  Strategy strategy = {};
  std::vector<std::string> recompute = {};  // patterns of layers whose values backward computes again (see matches())
  Loss loss = SparseCategoricalCrossentropy{};
  std::vector<Metric> metrics = {"auto"};

  bool scales_loss() const { return loss_scaling.value_or(precision == Precision::fp16); }
};

/// A plan and the values that the outside reads and writes.
struct Step {
  StepPlan plan;
  OwnedRanges owned;                             // with a sharded optimizer
  std::vector<int64_t> coordinates;              // this rank's place along each axis of the mesh but the first
  Value images, labels, lane_state, step_state;  // inputs; invalid where the graph does not use them
  Value loss;                                    // sum over the global batch, f32[1]; invalid in prediction
  std::vector<Value> tallies;                    // the metrics', as Measures has them; the same
  Value predictions;                             // the network's output, a lane's part; only in prediction
};

/// Throws InputError with the values that fit, where lanes is no power of two, does not divide the batch, or is not
/// divided by the number of ranks along the strategy's first axis; and as check_ranks does.
void check_batch(const StepOptions& options, int ranks);

/// Sees rank 0's graph after each pass, by the pass' name.
using OnPass = std::function<void(std::string_view pass, const Graph& graph)>;

/// What a planned step needs to know about the rank it is for.
struct StepTarget {
  const VariableLayout& layout;
  const KernelTable& kernels;
  Backend& backend;
  const Mesh& mesh;
  OnPass on_pass = {};
};

/// The strategy with a stage for each layer, where it has stages.
Strategy with_stages(const Network& network, const StepOptions& options, int ranks);
/// Which layers each stage has, its share of the estimated work, and the share of time in which stages wait; empty
/// where there are no stages.
std::string describe_pipeline(const Network& network, const StepOptions& options, const Mesh& mesh);
/// Where each variable lies on the mesh: of those that are cut along some axis, and of all where layers have stages.
Shards place_variables(const Network& network, const StepOptions& options, const Mesh& mesh);

/// forward, loss, backward, reductions and update. With loss scaling, the update is skipped where a gradient of the
/// global batch is not finite, on all ranks alike; the loss is reported without the scale, and batch norm's moving
/// statistics are updated all the same, as in PyTorch.
Step plan_training(const Network& network, const Optimizer& optimizer, const StepOptions& options,
                   const StepTarget& target);
/// forward and loss in inference mode; sums reduced as in training.
Step plan_evaluation(const Network& network, const StepOptions& options, const StepTarget& target);
/// forward in inference mode; predictions are f32.
Step plan_prediction(const Network& network, const StepOptions& options, const StepTarget& target);

}  // namespace lockstep
