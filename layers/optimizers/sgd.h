// Stochastic gradient descent over a flat range of parameters. Immutable: any thread.
#pragma once

#include "core/op.h"

namespace lockstep {

/// Inputs: parameters [n], gradient sums [n], step_state, and velocity [n] where momentum > 0. Outputs: parameters, and
/// velocity where momentum > 0, in the inputs' memory. With lr and the number of samples from step_state:
///   g = sum / samples + weight_decay * p;  v = momentum * v + g;  p = p - lr * (nesterov ? g + momentum * v : v)
/// as PyTorch's torch.optim.SGD (Sutskever et al., "On the importance of initialization and momentum", ICML 2013).
/// Each element by itself, so a range may be cut anywhere. Where `scaled`, two more inputs at the end, loss_scale
/// f32[2] and finite f32[1]: sums are divided by samples * scale, and where finite is 0 the outputs are the inputs.
class SgdOp final : public Op {
 public:
  /// Throws InputError unless 0 <= momentum < 1, and momentum > 0 where `nesterov`, and weight_decay >= 0.
  SgdOp(float momentum, bool nesterov, float weight_decay, bool scaled = false);
  std::string_view name() const override { return "sgd"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::InPlace; }
  std::string attributes() const override;

  const float momentum;
  const bool nesterov;
  const float weight_decay;
  const bool scaled;
};

}  // namespace lockstep
