// Sparse categorical cross-entropy with the accuracy beside it, and its gradient. Immutable: any thread.
#pragma once

#include "layers/layer.h"

namespace lockstep {

/// Inputs: logits, or probabilities as a softmax makes them, [N,K]; labels i32[N]; lane_state.
/// Outputs, over the lane's real samples: sum of -log p[label] as f32[1], and the number of correct predictions (the
/// first maximum is the label) as f32[1]. Probabilities are clipped to [1e-7, 1 - 1e-7], as Keras does.
class CrossEntropyOp final : public Op {
 public:
  explicit CrossEntropyOp(bool from_logits) : from_logits(from_logits) {}
  std::string_view name() const override { return "cross_entropy"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0), shard(0), shard(0)}, {partial, partial}}}; }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return from_logits ? "from logits" : "from probabilities"; }

  const bool from_logits;
};

/// Gradient of the sum by the logits (softmax(x) - onehot) or probabilities (-1 / p[label], 0 where clipped), [N,K]
/// from the same inputs; 0 for padding samples.
class CrossEntropyGradOp final : public Op {
 public:
  explicit CrossEntropyGradOp(bool from_logits) : from_logits(from_logits) {}
  std::string_view name() const override { return "cross_entropy_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0), shard(0), shard(0)}, {shard(0)}}}; }

  const bool from_logits;
};

}  // namespace lockstep
