// LAMB: Adam whose rate is adapted to each variable, for large batches.
#pragma once

#include "layers/optimizers/formulas/adam.h"

namespace lockstep {

/// You et al., "Large batch optimization for deep learning", ICLR 2020, algorithm 2; defaults of TensorFlow Addons'
/// LAMB. With m and v as Adam's, corrected, and |p| the norm of a whole variable:
///   u = m / (sqrt(v) + epsilon) + weight_decay * p;  r = |p| / |u|, or 1 where a norm is 0;  p = p - lr * r * u
/// Biases and the parameters of norms are excluded, as the paper's reference does: r is 1 and nothing decays.
struct LAMB {
  float lr = 0.001F;
  float beta_1 = 0.9F;
  float beta_2 = 0.999F;
  float epsilon = 1e-6F;
  float weight_decay = 0;

  static constexpr std::string_view name = "lamb";
  static constexpr bool excludes_bias_and_norm = true;
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    Adam::options(self, visit);
  }
  std::vector<std::string> slot_names() const { return {"m", "v"}; }
  void check() const { Adam{lr, beta_1, beta_2, epsilon, weight_decay}.check_as(name); }
};

/// Values are gradient sums, gradients the weights: u, in the place of the sum.
struct LambDirection {
  float beta_1, beta_2, epsilon, weight_decay;

  static constexpr std::string_view name = "lamb_direction";
  static constexpr FormulaTraits traits{.slots = 2, .scalars = 2, .of_sums = false};
  std::vector<std::string> slot_names() const { return {"m", "v"}; }
  void check() const {}
  template <class Math>
  constexpr float scalar(int k, float, double t, Math math) const {
    return static_cast<float>(1 / (1 - math.power(double{k == 0 ? beta_1 : beta_2}, t)));
  }
  template <class V, class Math>
  constexpr void update(V& sum, V p, V* slot, const Numbers& now, Math math) const {
    const V g = sum / now.count;
    slot[0] = beta_1 * slot[0] + (1 - beta_1) * g;
    slot[1] = beta_2 * slot[1] + (1 - beta_2) * g * g;
    sum = slot[0] * now.scalar[0] / (math.root(slot[1] * now.scalar[1]) + epsilon) + now.decay * p;
  }
};

/// p = p - lr * r * u, with u for a gradient.
struct LambStep {
  static constexpr std::string_view name = "lamb_step";
  static constexpr FormulaTraits traits{.of_sums = false, .adapts = true};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const {}
  constexpr float ratio(float value_norm, float direction_norm, float) const {
    return value_norm > 0 && direction_norm > 0 ? value_norm / direction_norm : 1;
  }
  template <class V, class Math>
  constexpr void update(V& p, V direction, V*, const Numbers& now, Math) const {
    p = p - now.lr * now.ratio * direction;
  }
};

}  // namespace lockstep
