// Permute: dimensions in another order. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Dimension i of the output is dimension order[i] of the input; order[0] is 0: the batch stays first.
class PermuteOp final : public Op {
 public:
  explicit PermuteOp(std::vector<int> order) : order(std::move(order)) {}
  std::string_view name() const override { return "permute"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;

  /// Where the output's elements lie in an input of this shape: of each output dimension, the distance between
  /// neighbours.
  std::vector<int64_t> strides(const Shape& x) const;

  const std::vector<int> order;
};

/// Keras' Permute: `dims` count from 1 and do not count the batch; (2, 1) swaps the first two.
class Permute final : public LayerOf<Permute> {
 public:
  Permute() = default;
  explicit Permute(std::vector<int64_t> dims) : dims(std::move(dims)) {}
  std::string_view type() const override { return "Permute"; }
  std::string_view base_name() const override { return "permute"; }
  void describe(Fields& fields) override { fields.field("dims", dims, true); }
  /// Throws InputError unless `dims` names each of the sample's dimensions once.
  Value build(Builder& builder, std::span<const Value> in) const override;

  std::vector<int64_t> dims;
};

}  // namespace lockstep
