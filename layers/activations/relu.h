// max(x, 0) and its gradient. Immutable: any thread.
#pragma once

#include <limits>

#include "layers/base/layer.h"

namespace lockstep {

/// The relu that ends an operator, where there is one: min(max(y, 0), top). Its gradient passes where 0 < y < top.
struct FusedRelu {
  FusedRelu(bool present) : present(present) {}  // NOLINT: implicit on purpose, a relu is without a top
  static FusedRelu up_to(float top) {
    FusedRelu relu(true);
    relu.top = top;
    return relu;
  }
  operator bool() const { return present; }  // NOLINT: implicit on purpose
  /// "+relu", "+relu6"; empty where there is none.
  std::string str() const;

  bool present;
  float top = std::numeric_limits<float>::infinity();
};

/// y = max(x, 0), elementwise; NaN stays NaN.
class ReluOp final : public Op {
 public:
  std::string_view name() const override { return "relu"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
};

/// dx from (y, dy): dy where y > 0, else 0.
class ReluGradOp final : public Op {
 public:
  std::string_view name() const override { return "relu_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }
};

struct ReLUOptions {
  std::optional<float> max_value = std::nullopt;  // none: unbounded
  float negative_slope = 0, threshold = 0;
};

/// As Keras: max_value where x >= max_value, x where threshold <= x < max_value, else negative_slope * (x - threshold).
/// `ReLU({.max_value = 6})` is ReLU6. Throws InputError for numbers below 0.
class ReLU final : public LayerOf<ReLU> {
 public:
  ReLU() = default;
  explicit ReLU(ReLUOptions options) : options(options) {}
  std::string_view type() const override { return "ReLU"; }
  std::string_view base_name() const override { return "re_lu"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  ReLUOptions options;
};

}  // namespace lockstep
