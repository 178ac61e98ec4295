// Moments of values, a quadruple of floats a channel, and how those of two sets become those of both: what a sum cannot
// tell is how far the lanes' means lie apart. Immutable: any thread.
#pragma once

#include "core/graph/op.h"

namespace lockstep {

/// Of some values: how many there are, their mean, and the sum of their squared deviations from it. All 0 of none.
struct Moments {
  float count = 0, mean = 0, squares = 0;
  float unused = 0;  // so that what lies between two aligned tensors is whole ones, of nothing
};

/// f32[C,4]: Moments of each channel of x [N,…,C].
inline Type moments_type(const Type& x) { return {Shape{x.shape[-1], sizeof(Moments) / sizeof(float)}}; }

/// The moments of the values of two sets together: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm
/// for computing sample variances", 1979; no difference of large numbers where the mean is large. Inputs: two f32[n] of
/// n / 4 Moments each. Output: f32[n], in the first one's memory. The inputs' order does not change a bit.
class MergeMomentsOp final : public Op {
 public:
  std::string_view name() const override { return "merge_moments"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  Reuse reuse() const override { return Reuse::in_place; }
};

}  // namespace lockstep
