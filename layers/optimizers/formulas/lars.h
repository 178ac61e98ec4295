// LARS: SGD whose rate is adapted to each variable, for large batches.
#pragma once

#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// You et al., "Large batch training of convolutional networks", arXiv:1708.03888, algorithm 1; names and defaults of
/// TensorFlow's LARSOptimizer (MLPerf). With |p| and |g| the norms of a whole variable and of its mean gradient:
///   r = eeta * |p| / (|g| + weight_decay * |p| + epsilon), or 1 where a norm is 0
///   v = momentum * v + lr * r * (g + weight_decay * p);  p = p - v
/// As there, biases and the parameters of norms are excluded: r is 1 and nothing decays.
struct LARS {
  float lr = 0.01F;
  float momentum = 0.9F;
  float weight_decay = 1e-4F;
  float eeta = 0.001F;
  float epsilon = 0;

  static constexpr std::string_view name = "lars";
  static constexpr bool excludes_bias_and_norm = true;
  static constexpr FormulaTraits traits{.slots = 1, .adapts = true};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    visit("momentum", self.momentum);
    visit("weight_decay", self.weight_decay);
    visit("eeta", self.eeta);
    visit("epsilon", self.epsilon);
  }
  std::vector<std::string> slot_names() const { return {"momentum"}; }
  void check() const {
    expect_share(name, "momentum", momentum);
    expect_from_zero(name, "weight_decay", weight_decay);
    expect_above_zero(name, "eeta", eeta);
    expect_from_zero(name, "epsilon", epsilon);
  }
  constexpr float ratio(float value_norm, float sum_norm, float count) const {
    const float gradient_norm = sum_norm / count;
    if (!(value_norm > 0 && gradient_norm > 0)) return 1;
    return eeta * value_norm / (gradient_norm + weight_decay * value_norm + epsilon);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math) const {
    slot[0] = momentum * slot[0] + now.lr * now.ratio * (gradient + now.decay * p);
    p = p - slot[0];
  }
};

}  // namespace lockstep
