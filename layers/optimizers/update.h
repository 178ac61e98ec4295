// The operator that runs a formula over a flat range. Immutable: any thread.
#pragma once

#include <variant>

#include "core/graph/op.h"
#include "layers/optimizers/formulas/adagrad.h"
#include "layers/optimizers/formulas/adam.h"
#include "layers/optimizers/formulas/around.h"
#include "layers/optimizers/formulas/custom.h"
#include "layers/optimizers/formulas/lamb.h"
#include "layers/optimizers/formulas/lars.h"
#include "layers/optimizers/formulas/rmsprop.h"
#include "layers/optimizers/formulas/sgd.h"

namespace lockstep {

using Formula = std::variant<SGD, Adam, AdamW, RMSprop, Adagrad, LARS, LambDirection, LambStep, PenaltyGradient,
                             ClipValue, ClipNorm, LookaheadStart, LookaheadStep, AverageStep, CustomFormula>;

/// Inputs: values [n], gradients [n], step_state, the formula's slots [n] each; where it adapts, two more f32[k], the
/// norms of values and of gradients by variable; where `scaled`, loss_scale f32[2] and finite f32[1]. Outputs: values
/// and slots, in the inputs' memory. Each element by itself, so a range may be cut anywhere. Sums are divided by the
/// batch's samples, and where scaled by the scale as well; then, where finite is 0, the outputs are the inputs.
class UpdateOp final : public Op {
 public:
  /// `stretches` are those parts of the range that change; none: all of it, as one. Throws InputError where one of the
  /// formula's options is out of range.
  explicit UpdateOp(Formula formula, bool scaled = false, std::vector<Stretch> stretches = {});
  std::string_view name() const override;
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;
  size_t slots() const;
  bool adapts() const;
  /// Of a range of n elements.
  std::vector<Stretch> stretches_of(int64_t n) const;

  const Formula formula;
  const bool scaled;
  const std::vector<Stretch> stretches;
};

/// The formula's weight_decay; 0 where it has none.
template <class F>
constexpr float decay_of(const F& formula) {
  if constexpr (requires { formula.weight_decay; })
    return formula.weight_decay;
  else
    return 0;
}

/// Whether the formula changes nothing in this step.
template <class F>
constexpr bool idle(const F& formula, uint64_t step) {
  if constexpr (requires { formula.idle(step); })
    return formula.idle(step);
  else
    return false;
}

}  // namespace lockstep
