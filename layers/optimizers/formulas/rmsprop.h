// RMSprop.
#pragma once

#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// Tieleman and Hinton, "Lecture 6.5: rmsprop", Coursera 2012, centered as in Graves, arXiv:1308.0850, equations 38 to
/// 41; the formulas of PyTorch's torch.optim.RMSprop (whose alpha is rho) with Keras' names and defaults:
///   g = mean gradient + weight_decay * p;  v = rho * v + (1 - rho) * g * g;  a = rho * a + (1 - rho) * g
///   d = g / (sqrt(centered ? v - a * a : v) + epsilon);  b = momentum * b + d;  p = p - lr * (momentum > 0 ? b : d)
struct RMSprop {
  float lr = 0.001F;
  float rho = 0.9F;
  float momentum = 0;
  float epsilon = 1e-7F;
  bool centered = false;
  float weight_decay = 0;

  static constexpr std::string_view name = "rmsprop";
  static constexpr bool excludes_bias_and_norm = false;
  static constexpr FormulaTraits traits{.slots = 3, .optional_slots = 2};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    visit("rho", self.rho);
    visit("momentum", self.momentum);
    visit("epsilon", self.epsilon);
    visit("centered", self.centered);
    visit("weight_decay", self.weight_decay);
  }
  std::vector<std::string> slot_names() const {
    std::vector<std::string> names{"v"};
    if (centered) names.emplace_back("average");
    if (momentum > 0) names.emplace_back("momentum");
    return names;
  }
  void check() const {
    expect_share(name, "rho", rho);
    expect_share(name, "momentum", momentum);
    expect_above_zero(name, "epsilon", epsilon);
    expect_from_zero(name, "weight_decay", weight_decay);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math math) const {
    const V g = gradient + now.decay * p;
    slot[0] = rho * slot[0] + (1 - rho) * g * g;
    V variance = slot[0];
    if (centered) {
      slot[1] = rho * slot[1] + (1 - rho) * g;
      variance = variance - slot[1] * slot[1];
      variance = variance < V{} ? V{} : variance;  // rounding alone makes it negative; NaN stays
    }
    const V direction = g / (math.root(variance) + epsilon);
    if (momentum > 0) {
      V& velocity = slot[centered ? 2 : 1];
      velocity = momentum * velocity + direction;
      p = p - now.lr * velocity;
    } else {
      p = p - now.lr * direction;
    }
  }
};

}  // namespace lockstep
