// Penalties on a variable's values, as Keras' L1, L2 and L1L2. Plain data; any thread.
#pragma once

namespace lockstep {

/// l1 * sum |w| + l2 * sum w^2 is added to the loss that is minimised (Keras' regularizers.L1L2; PyTorch's
/// weight_decay d is l2 = d / 2). 0 and 0: none. The loss that is reported is that of the data alone, without it.
struct Regularizer {
  float l1 = 0, l2 = 0;
  bool any() const { return l1 > 0 || l2 > 0; }
  bool operator==(const Regularizer&) const = default;
};
/// With Keras' defaults.
constexpr Regularizer L1(float l1 = 0.01F) { return {l1, 0}; }
constexpr Regularizer L2(float l2 = 0.01F) { return {0, l2}; }
constexpr Regularizer L1L2(float l1 = 0.01F, float l2 = 0.01F) { return {l1, l2}; }

}  // namespace lockstep
