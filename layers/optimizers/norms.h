// The norms of whole variables, for clipping and for optimizers that adapt to them. Immutable: any thread.
#pragma once

#include <vector>

#include "core/op.h"

namespace lockstep {

/// Where one variable lies in the inputs: elements [begin, end) of input `input`.
struct NormOf {
  size_t input = 0;
  int64_t begin = 0, end = 0;
};

/// Output: f32[k], the Euclidean norm of each of k variables; 0 of an empty one. Inputs: any number, f32[n]. Squares
/// are added in double, in an order that a variable's size alone decides.
class NormsOp final : public Op {
 public:
  explicit NormsOp(std::vector<NormOf> variables) : variables(std::move(variables)) {}
  std::string_view name() const override { return "norms"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
  std::string attributes() const override;

  const std::vector<NormOf> variables;
};

/// f32[k]: the norm of all variables, from the norms of each, f32[k]; k times the same, so that it stands where theirs
/// may.
class TotalNormOp final : public Op {
 public:
  std::string_view name() const override { return "total_norm"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {}; }
};

}  // namespace lockstep
