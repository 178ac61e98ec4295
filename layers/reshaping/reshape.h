// Reshape: the same bytes under another shape, forward and backward. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// [N, …] of the shape `from` as [N, …] of the shape `to`; dimension 0 follows the input.
class ReshapeOp final : public Op {
 public:
  ReshapeOp(Shape from, Shape to) : from(from), to(to) {}
  std::string_view name() const override { return "reshape"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::view; }

  const Shape from, to;
};

/// Keras' Reshape of each sample: one dimension of `target_shape` may be -1, and is what the others leave.
class Reshape final : public LayerOf<Reshape> {
 public:
  Reshape() = default;
  explicit Reshape(std::vector<int64_t> target_shape) : target_shape(std::move(target_shape)) {}
  std::string_view type() const override { return "Reshape"; }
  std::string_view base_name() const override { return "reshape"; }
  void describe(Fields& fields) override { fields.field("target_shape", target_shape, true); }
  /// Throws InputError where the samples do not have as many elements.
  Value build(Builder& builder, std::span<const Value> in) const override;

  std::vector<int64_t> target_shape;
};

}  // namespace lockstep
