// From a network to planned steps: runs the passes in their order, for training and for evaluation.
#pragma once

#include <functional>

#include "core/plan/step_plan.h"
#include "launch/plan/step_options.h"
#include "launch/plan/variables.h"
#include "layers/optimizers/optimizer.h"
#include "parallel/mesh/mesh_op.h"
#include "parallel/placement/buckets.h"

namespace lockstep {

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

/// Of checked options (see check_batch):
///
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
