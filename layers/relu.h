// max(x, 0) and its gradient. Immutable: any thread.
#pragma once

#include "layers/layer.h"

namespace lockstep {

/// y = max(x, 0), elementwise; NaN stays NaN.
class ReluOp final : public Op {
 public:
  std::string_view name() const override { return "relu"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::InPlace; }
};

/// dx from (y, dy): dy where y > 0, else 0.
class ReluGradOp final : public Op {
 public:
  std::string_view name() const override { return "relu_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::InPlace; }
};

class ReLU final : public LayerOf<ReLU> {
 public:
  std::string_view type() const override { return "ReLU"; }
  std::string_view base_name() const override { return "re_lu"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
