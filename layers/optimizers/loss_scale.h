// Dynamic loss scaling, which keeps small f16 gradients from vanishing: the loss' gradient is multiplied by a scale,
// the optimizer divides by it, and a step whose gradients are not all finite is skipped. Immutable: any thread.
// Micikevicius et al., "Mixed precision training", ICLR 2018, section 3.2; the scale's rule and its numbers are those
// of PyTorch's torch.amp.GradScaler (init_scale 65536, growth_factor 2, backoff_factor 0.5, growth_interval 2000).
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

#include "core/graph/op.h"

namespace lockstep {

/// What is kept between steps, as two floats. The scale is a power of two: it changes no mantissa.
struct LossScale {
  float scale = 65536;
  float good_steps = 0;  // steps with finite gradients since the scale last changed
  bool operator==(const LossScale&) const = default;
  /// Where a run starts. PyTorch scales a batch's mean loss; here it is a sum, which the same scale would make as many
  /// times larger as there are samples, and 16 bits would overflow.
  static LossScale first(int64_t batch) {
    return {std::max(1.0F, 65536.0F / static_cast<float>(std::bit_ceil(static_cast<uint64_t>(batch)))), 0};
  }
};
inline Type loss_scale_type() { return {Shape{2}, DType::f32}; }

/// f32[1]: 1 where all elements of all inputs (one or more, f32) are finite, else `not_finite`: so that a sum of flags
/// is above 0 where all are.
inline constexpr float not_finite = std::numeric_limits<float>::lowest();
class FiniteOp final : public Op {
 public:
  std::string_view name() const override { return "finite"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
};

/// Inputs: loss_scale f32[2], finite f32[1]. Output: loss_scale, in the input's memory:
///   finite    good_steps += 1; at growth_interval: scale *= 2, unless that is infinite, and good_steps = 0
///   else      scale = max(scale / 2, 1) and good_steps = 0
class LossScaleOp final : public Op {
 public:
  /// Throws InputError unless growth_interval >= 1.
  explicit LossScaleOp(int growth_interval = 2000);
  std::string_view name() const override { return "loss_scale"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const int growth_interval;
};

/// The last two inputs of an optimizer's scaled variant: loss_scale and finite.
void expect_loss_scale(std::span<const Type> two);

}  // namespace lockstep
