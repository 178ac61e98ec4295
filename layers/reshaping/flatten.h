// Flatten and its gradient: the same bytes under another shape. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// [N, …] as [N, product of the rest]. `x` is the input's shape.
class FlattenOp final : public Op {
 public:
  explicit FlattenOp(Shape x) : x(x) {}
  std::string_view name() const override { return "flatten"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::view; }

  const Shape x;
};

/// [N, F] as [N, …] of the shape `x`; dimension 0 follows the input.
class UnflattenOp final : public Op {
 public:
  explicit UnflattenOp(Shape x) : x(x) {}
  std::string_view name() const override { return "unflatten"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  Reuse reuse() const override { return Reuse::view; }

  const Shape x;
};

class Flatten final : public LayerOf<Flatten> {
 public:
  std::string_view type() const override { return "Flatten"; }
  std::string_view base_name() const override { return "flatten"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
