// Adam over a flat range of parameters. Immutable: any thread.
#pragma once

#include "core/op.h"

namespace lockstep {

/// Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1. Inputs: parameters [n],
/// gradient sums [n], step_state, first moment [n], second moment [n]. Outputs: parameters and both moments, in the
/// inputs' memory. With lr, the number of samples and the step t - 1 from step_state:
///   g = sum / samples + weight_decay * p;  m = beta_1 * m + (1 - beta_1) * g;  v = beta_2 * v + (1 - beta_2) * g * g
///   p = p - lr * m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
/// Each element by itself, so a range may be cut anywhere. Where `scaled`, two more inputs at the end, loss_scale
/// f32[2] and finite f32[1]: sums are divided by samples * scale, and where finite is 0 the outputs are the inputs; t
/// counts such a step as well.
class AdamOp final : public Op {
 public:
  /// Throws InputError unless 0 <= beta < 1, epsilon > 0 and weight_decay >= 0.
  AdamOp(float beta_1, float beta_2, float epsilon, float weight_decay, bool scaled = false);
  std::string_view name() const override { return "adam"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::InPlace; }
  std::string attributes() const override;

  const float beta_1, beta_2, epsilon, weight_decay;
  const bool scaled;
};

}  // namespace lockstep
