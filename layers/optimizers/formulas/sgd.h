// Stochastic gradient descent.
#pragma once

#include "core/error.h"
#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// g = mean gradient + weight_decay * p;  v = momentum * v + g;  p = p - lr * (nesterov ? g + momentum * v : v)
/// as PyTorch's torch.optim.SGD (Sutskever et al., "On the importance of initialization and momentum", ICML 2013), with
/// Keras' defaults. weight_decay is an L2 penalty, as in PyTorch; Keras' decays the weights beside the gradient.
struct SGD {
  float lr = 0.01F;
  float momentum = 0;
  bool nesterov = false;
  float weight_decay = 0;

  static constexpr std::string_view name = "sgd";
  static constexpr bool excludes_bias_and_norm = false;
  static constexpr FormulaTraits traits{.slots = 1, .optional_slots = 1};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    visit("momentum", self.momentum);
    visit("nesterov", self.nesterov);
    visit("weight_decay", self.weight_decay);
  }
  std::vector<std::string> slot_names() const {
    return momentum > 0 ? std::vector<std::string>{"momentum"} : std::vector<std::string>{};
  }
  void check() const {
    expect_share(name, "momentum", momentum);
    if (nesterov && !(momentum > 0)) throw InputError("sgd: got nesterov with momentum 0, expected a momentum above 0");
    expect_from_zero(name, "weight_decay", weight_decay);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math) const {
    const V g = gradient + now.decay * p;
    V direction = g;
    if (momentum > 0) {
      slot[0] = momentum * slot[0] + g;
      direction = nesterov ? g + momentum * slot[0] : slot[0];
    }
    p = p - now.lr * direction;
  }
};

}  // namespace lockstep
