// What decides a step beside its network. Plain data.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "layers/losses/loss.h"
#include "layers/metrics/metric.h"
#include "layers/passes/precision.h"
#include "parallel/mesh/strategy.h"

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

/// Throws InputError with the values that fit, where lanes is no power of two, does not divide the batch, or is not
/// divided by the number of ranks along the strategy's first axis; and as check_ranks does.
void check_batch(const StepOptions& options, int ranks);

}  // namespace lockstep
