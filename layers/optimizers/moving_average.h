// Keeps the moving statistics of batch normalisation. Immutable: any thread.
#pragma once

#include "core/op.h"

namespace lockstep {

/// moving = momentum * moving + (1 - momentum) * sum / samples. Inputs: moving [C], sum over the samples of the global
/// batch [C], step_state. Output: moving, in the input's memory.
class MovingAverageOp final : public Op {
 public:
  /// Throws InputError unless 0 <= momentum <= 1.
  explicit MovingAverageOp(float momentum);
  std::string_view name() const override { return "moving_average"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::InPlace; }
  std::string attributes() const override;

  const float momentum;
};

}  // namespace lockstep
