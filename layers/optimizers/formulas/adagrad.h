// Adagrad.
#pragma once

#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// Duchi et al., "Adaptive subgradient methods", JMLR 2011; the formulas of PyTorch's torch.optim.Adagrad with Keras'
/// names and defaults:  g = mean gradient + weight_decay * p;  a = a + g * g
///   p = p - lr * g / (sqrt(initial_accumulator_value + a) + epsilon)
/// The accumulator starts at 0 and holds the squares alone.
struct Adagrad {
  float lr = 0.001F;
  float initial_accumulator_value = 0.1F;
  float epsilon = 1e-7F;
  float weight_decay = 0;

  static constexpr std::string_view name = "adagrad";
  static constexpr bool excludes_bias_and_norm = false;
  static constexpr FormulaTraits traits{.slots = 1};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    visit("initial_accumulator_value", self.initial_accumulator_value);
    visit("epsilon", self.epsilon);
    visit("weight_decay", self.weight_decay);
  }
  std::vector<std::string> slot_names() const { return {"accumulator"}; }
  void check() const {
    expect_from_zero(name, "initial_accumulator_value", initial_accumulator_value);
    expect_above_zero(name, "epsilon", epsilon);
    expect_from_zero(name, "weight_decay", weight_decay);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math math) const {
    const V g = gradient + now.decay * p;
    slot[0] = slot[0] + g * g;
    p = p - now.lr * g / (math.root(slot[0] + initial_accumulator_value) + epsilon);
  }
};

}  // namespace lockstep
