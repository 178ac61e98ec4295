// Softmax over the last dimension and its gradient. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// y[..., k] = exp(x[..., k] - max) / sum over the last dimension of exp(x - max). f32 only, as its gradient.
class SoftmaxOp final : public Op {
 public:
  std::string_view name() const override { return "softmax"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0)}, {shard(0)}}}; }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
};

/// dx from (y, dy): y * (dy - sum of dy * y over the last dimension).
class SoftmaxGradOp final : public Op {
 public:
  std::string_view name() const override { return "softmax_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0), shard(0)}, {shard(0)}}}; }
  Reuse reuse() const override { return Reuse::in_place; }
};

class Softmax final : public LayerOf<Softmax> {
 public:
  std::string_view type() const override { return "Softmax"; }
  std::string_view base_name() const override { return "softmax"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
