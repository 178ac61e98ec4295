// The optimizers as the user names them. Plain options: copied freely, read by any thread.
#pragma once

#include <memory>
#include <string>
#include <variant>

#include "core/op.h"

namespace lockstep {

/// v = momentum * v + g;  p = p - lr * v, as PyTorch defines it; g is the mean gradient + weight_decay * p.
struct SGD {
  float lr = 0.01F;
  float momentum = 0;
  bool nesterov = false;
  float weight_decay = 0;
};

/// Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1, with Keras' defaults.
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

  std::string name() const;
  float lr() const;
  void set_lr(float lr);
  float weight_decay() const;
  void set_weight_decay(float weight_decay);
  /// Variables kept beside each parameter.
  int slots() const;
  /// The operator over a flat range: inputs (parameters, gradient sums, step_state, slots…), outputs (parameters,
  /// slots…) in place.
  std::shared_ptr<const Op> op() const;

 private:
  std::variant<SGD, Adam> options_;
};

}  // namespace lockstep
