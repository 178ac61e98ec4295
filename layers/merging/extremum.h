// The larger or the smaller of two values, elementwise, and the layers Maximum and Minimum. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

enum class Extremum : unsigned char { maximum, minimum };
/// For kernels: a minimum is a maximum of what has the other sign.
inline float sign_of(Extremum which) { return which == Extremum::maximum ? 1.0F : -1.0F; }

/// max(a, b) or min(a, b), of one shape; NaN where one is NaN.
class ExtremumOp final : public Op {
 public:
  explicit ExtremumOp(Extremum which) : which(which) {}
  std::string_view name() const override { return which == Extremum::maximum ? "maximum" : "minimum"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }

  const Extremum which;
};

/// da and db from (a, b, dy): dy goes where the value came from and, as in TensorFlow, to a alone where both are equal
/// (PyTorch halves it).
class ExtremumGradOp final : public Op {
 public:
  explicit ExtremumGradOp(Extremum which) : which(which) {}
  std::string_view name() const override { return which == Extremum::maximum ? "maximum_grad" : "minimum_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }

  const Extremum which;
};

/// The elementwise maximum of two or more inputs of one shape. Where inputs are equal, the gradient is the first one's.
class Maximum final : public LayerOf<Maximum> {
 public:
  std::string_view type() const override { return "Maximum"; }
  std::string_view base_name() const override { return "maximum"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

/// The elementwise minimum of two or more inputs of one shape. Where inputs are equal, the gradient is the first one's.
class Minimum final : public LayerOf<Minimum> {
 public:
  std::string_view type() const override { return "Minimum"; }
  std::string_view base_name() const override { return "minimum"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
