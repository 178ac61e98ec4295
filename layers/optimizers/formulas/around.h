// What is done to gradients before an update and to weights after it, whatever the optimizer: penalties, clipping,
// Lookahead, and the average of the weights.
#pragma once

#include <algorithm>

#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// Values are gradient sums, gradients the weights w: sum + count * (l1 * sign(w) + 2 * l2 * w).
struct PenaltyGradient {
  static constexpr std::string_view name = "penalty";
  static constexpr FormulaTraits traits{.of_sums = false};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const {}
  template <class V, class Math>
  constexpr void update(V& sum, V w, V*, const Numbers& now, Math) const {
    const V l1 = V{} + now.penalty.l1;
    const V sign = w > V{} ? l1 : (w < V{} ? V{} - l1 : V{});
    sum = sum + now.count * (sign + 2 * now.penalty.l2 * w);
  }
};

/// Values are gradient sums: the mean gradient is kept within ±limit. NaN stays NaN.
struct ClipValue {
  float limit = 0;
  static constexpr std::string_view name = "clip_value";
  static constexpr FormulaTraits traits{.of_sums = false};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const { expect_above_zero("gradients", "clipvalue", limit); }
  template <class V, class Math>
  constexpr void update(V& sum, V, V*, const Numbers& now, Math) const {
    const V most = V{} + limit * now.count;
    sum = sum > most ? most : sum;
    sum = sum < V{} - most ? V{} - most : sum;
  }
};

/// Values are gradient sums: where the norm of the mean gradient is above the limit it is made the limit. The norm
/// given is that of the sums, of a variable (clipnorm) or of all (global_clipnorm: Pascanu et al., "On the difficulty
/// of training recurrent neural networks", ICML 2013, algorithm 1). A norm of NaN changes nothing.
struct ClipNorm {
  float limit = 0;
  static constexpr std::string_view name = "clip_norm";
  static constexpr FormulaTraits traits{.of_sums = false, .adapts = true};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const { expect_above_zero("gradients", "clipnorm", limit); }
  constexpr float ratio(float sum_norm, float, float count) const {
    const float norm = sum_norm / count;
    return norm > limit ? limit / norm : 1;
  }
  template <class V, class Math>
  constexpr void update(V& sum, V, V*, const Numbers& now, Math) const {
    sum = sum * now.ratio;
  }
};

/// Values are the slow weights, gradients the weights: they start alike.
struct LookaheadStart {
  static constexpr std::string_view name = "lookahead_start";
  static constexpr FormulaTraits traits{.of_sums = false};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const {}
  constexpr bool idle(uint64_t step) const { return step != 0; }
  template <class V, class Math>
  constexpr void update(V& slow, V weight, V*, const Numbers&, Math) const {
    slow = weight;
  }
};

/// Zhang et al., "Lookahead optimizer: k steps forward, 1 step back", NeurIPS 2019, algorithm 1: after each `steps`
/// steps, slow = slow + alpha * (p - slow) and p = slow. Values are weights; the gradient is not used.
struct LookaheadStep {
  int64_t steps = 5;
  float alpha = 0.5F;
  static constexpr std::string_view name = "lookahead";
  static constexpr FormulaTraits traits{.slots = 1, .of_sums = false};
  std::vector<std::string> slot_names() const { return {"slow"}; }
  void check() const {}
  constexpr bool idle(uint64_t step) const { return (step + 1) % static_cast<uint64_t>(steps) != 0; }
  template <class V, class Math>
  constexpr void update(V& p, V, V* slot, const Numbers&, Math) const {
    slot[0] = slot[0] + alpha * (p - slot[0]);
    p = slot[0];
  }
};

/// Values are averages, gradients the weights after the update; as Keras' use_ema: average = momentum * average +
/// (1 - momentum) * weight, where the first step's momentum is 0.
struct AverageStep {
  float momentum = 0.99F;
  static constexpr std::string_view name = "average";
  static constexpr FormulaTraits traits{.scalars = 1, .of_sums = false};
  std::vector<std::string> slot_names() const { return {}; }
  void check() const {}
  template <class Math>
  constexpr float scalar(int, float, double t, Math) const {
    return t > 1 ? momentum : 0.0F;
  }
  template <class V, class Math>
  constexpr void update(V& average, V weight, V*, const Numbers& now, Math) const {
    average = now.scalar[0] * average + (1 - now.scalar[0]) * weight;
  }
};

}  // namespace lockstep
