// Concatenation along the last dimension, and the slices that are its gradient. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Inputs that differ in the last dimension only, one after the other.
class ConcatOp final : public Op {
 public:
  explicit ConcatOp(size_t inputs) : inputs(inputs) {}
  std::string_view name() const override { return "concat"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;

  const size_t inputs;
};

/// Elements [begin, end) of the last dimension.
class SliceOp final : public Op {
 public:
  SliceOp(int64_t begin, int64_t end) : begin(begin), end(end) {}
  std::string_view name() const override { return "slice"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override {
    return {{{shard(0)}, {shard(0)}}, {{shard(1)}, {shard(1)}, Cut::height}, {{shard(2)}, {shard(2)}, Cut::width}};
  }
  std::string attributes() const override;

  const int64_t begin, end;
};

/// Keras' Concatenate along the channels (axis -1).
class Concatenate final : public LayerOf<Concatenate> {
 public:
  std::string_view type() const override { return "Concatenate"; }
  std::string_view base_name() const override { return "concatenate"; }
  void describe(Fields& fields) override { fields.field("axis", axis); }
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t axis = -1;
};

}  // namespace lockstep
