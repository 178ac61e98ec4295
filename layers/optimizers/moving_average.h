// Keeps the moving statistics of batch normalisation. Immutable: any thread.
#pragma once

#include "core/graph/op.h"

namespace lockstep {

/// moving = momentum * moving + (1 - momentum) * batch's, of the mean and of the unbiased variance (of a single value,
/// 0). Inputs: moving mean [C], moving variance [C], the global batch's moments [C,4]. Outputs: the moving ones, in the
/// inputs' memory.
class MovingAverageOp final : public Op {
 public:
  /// Throws InputError unless 0 <= momentum <= 1.
  explicit MovingAverageOp(float momentum);
  std::string_view name() const override { return "moving_average"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const float momentum;
};

}  // namespace lockstep
