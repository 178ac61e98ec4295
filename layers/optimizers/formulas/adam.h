// Adam, and Adam with decoupled weight decay.
#pragma once

#include "layers/optimizers/formulas/formula.h"

namespace lockstep {

/// Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1, with Keras' defaults:
///   g = mean gradient + weight_decay * p;  m = beta_1 * m + (1 - beta_1) * g;  v = beta_2 * v + (1 - beta_2) * g * g
///   p = p - lr * m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
/// Epsilon is added to the corrected deviation, as in the paper and in PyTorch. weight_decay is an L2 penalty, as in
/// PyTorch. t counts all steps, such as loss scaling skipped too.
struct Adam {
  float lr = 0.001F;
  float beta_1 = 0.9F;
  float beta_2 = 0.999F;
  float epsilon = 1e-7F;
  float weight_decay = 0;

  static constexpr std::string_view name = "adam";
  static constexpr bool excludes_bias_and_norm = false;
  static constexpr FormulaTraits traits{.slots = 2, .scalars = 2};
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    visit("lr", self.lr);
    visit("beta_1", self.beta_1);
    visit("beta_2", self.beta_2);
    visit("epsilon", self.epsilon);
    visit("weight_decay", self.weight_decay);
  }
  std::vector<std::string> slot_names() const { return {"m", "v"}; }
  void check_as(std::string_view who) const {
    expect_share(who, "beta_1", beta_1);
    expect_share(who, "beta_2", beta_2);
    expect_above_zero(who, "epsilon", epsilon);
    expect_from_zero(who, "weight_decay", weight_decay);
  }
  void check() const { check_as(name); }
  /// The corrected rate, and the second moment's correction.
  template <class Math>
  constexpr float scalar(int k, float rate, double t, Math math) const {
    return k == 0 ? static_cast<float>(double{rate} / (1 - math.power(double{beta_1}, t)))
                  : static_cast<float>(1 / (1 - math.power(double{beta_2}, t)));
  }
  template <class V, class Math>
  constexpr void step(V& p, V g, V* slot, const Numbers& now, Math math) const {
    slot[0] = beta_1 * slot[0] + (1 - beta_1) * g;
    slot[1] = beta_2 * slot[1] + (1 - beta_2) * g * g;
    p = p - now.scalar[0] * slot[0] / (math.root(slot[1] * now.scalar[1]) + epsilon);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math math) const {
    step<V>(p, gradient + now.decay * p, slot, now, math);
  }
};

/// Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2, as PyTorch's
/// torch.optim.AdamW and Keras' AdamW, with Keras' defaults: p = p - lr * weight_decay * p, then Adam without decay.
struct AdamW {
  float lr = 0.001F;
  float beta_1 = 0.9F;
  float beta_2 = 0.999F;
  float epsilon = 1e-7F;
  float weight_decay = 0.004F;

  static constexpr std::string_view name = "adamw";
  static constexpr bool excludes_bias_and_norm = false;
  static constexpr FormulaTraits traits = Adam::traits;
  template <class Self, class Visit>
  static void options(Self& self, Visit visit) {
    Adam::options(self, visit);
  }
  std::vector<std::string> slot_names() const { return adam().slot_names(); }
  void check() const { adam().check_as(name); }
  template <class Math>
  constexpr float scalar(int k, float rate, double t, Math math) const {
    return adam().scalar(k, rate, t, math);
  }
  template <class V, class Math>
  constexpr void update(V& p, V gradient, V* slot, const Numbers& now, Math math) const {
    p = p - now.lr * now.decay * p;
    adam().template step<V>(p, gradient, slot, now, math);
  }

 private:
  constexpr Adam adam() const { return {lr, beta_1, beta_2, epsilon, weight_decay}; }
};

}  // namespace lockstep
