// The optimizers as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "core/op.h"

namespace lockstep {

/// v = momentum * v + g;  p = p - lr * v, as PyTorch defines it; g is the mean gradient + weight_decay * p. In both
/// optimizers weight_decay is this L2 penalty, as in PyTorch; Keras' decays the weights beside the gradient.
struct SGD {
  float lr = 0.01F;
  float momentum = 0;
  bool nesterov = false;
  float weight_decay = 0;
};

/// Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1, with Keras' defaults. Epsilon
/// is added to the corrected deviation, as in the paper and in PyTorch.
struct Adam {
  float lr = 0.001F;
  float beta_1 = 0.9F;
  float beta_2 = 0.999F;
  float epsilon = 1e-7F;
  float weight_decay = 0;
};

class Optimizer {
 public:
  Optimizer(SGD sgd) : options_(sgd) {}     // NOLINT: implicit, so that compile({.optimizer = SGD{…}}) reads well
  Optimizer(Adam adam) : options_(adam) {}  // NOLINT

  /// "sgd", "momentum" (SGD with momentum 0.9) or "adam". Throws InputError with the nearest name.
  static Optimizer from_name(const std::string& name);

  /// The options of the one that it is, null for the other.
  const SGD* sgd() const { return std::get_if<SGD>(&options_); }
  const Adam* adam() const { return std::get_if<Adam>(&options_); }
  float lr() const;
  void set_lr(float lr);
  void set_weight_decay(float weight_decay);
  /// Variables kept beside each parameter, by their names in checkpoints: "momentum" (SGD), "m" and "v" (Adam). The
  /// order is that of VariableStore's slots.
  std::vector<std::string> slot_names() const;
  int slots() const { return static_cast<int>(slot_names().size()); }
  /// The operator over a flat range: inputs (parameters, gradient sums, step_state, slots…), outputs (parameters,
  /// slots…) in place. Where `scaled`, loss_scale and finite are inputs behind the slots: see SgdOp and AdamOp.
  std::shared_ptr<const Op> op(bool scaled = false) const;

 private:
  std::variant<SGD, Adam> options_;
};

}  // namespace lockstep
