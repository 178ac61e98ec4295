// Elementwise sum, and the layers that are sums. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// a + b, of one shape.
class AddOp final : public Op {
 public:
  std::string_view name() const override { return "add"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
};

/// The sum of two or more inputs.
class Add final : public LayerOf<Add> {
 public:
  std::string_view type() const override { return "Add"; }
  std::string_view base_name() const override { return "add"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

/// The first of two inputs less the second.
class Subtract final : public LayerOf<Subtract> {
 public:
  std::string_view type() const override { return "Subtract"; }
  std::string_view base_name() const override { return "subtract"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

/// The mean of two or more inputs.
class Average final : public LayerOf<Average> {
 public:
  std::string_view type() const override { return "Average"; }
  std::string_view base_name() const override { return "average"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
