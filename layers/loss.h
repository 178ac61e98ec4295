// Sparse categorical cross-entropy with the accuracy beside it, and its gradient. Immutable: any thread.
#pragma once

#include "layers/layer.h"

namespace lockstep {

/// Inputs: logits [N,K], what a softmax at the network's end takes; labels i32[N]; lane_state.
/// Outputs, over the lane's real samples: sum of -log softmax(logits)[label] as f32[1], and the number of correct
/// predictions (the first maximum is the label) as f32[1]. From logits and not from probabilities, as Keras does where
/// a network ends in a softmax: no probability is so small that its gradient is lost.
class CrossEntropyOp final : public Op {
 public:
  std::string_view name() const override { return "cross_entropy"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0), shard(0), shard(0)}, {partial, partial}}}; }
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
};

/// Gradient of the sum by the logits, softmax(x) - onehot, [N,K], from the same inputs; 0 for padding samples.
class CrossEntropyGradOp final : public Op {
 public:
  std::string_view name() const override { return "cross_entropy_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override { return {{{shard(0), shard(0), shard(0)}, {shard(0)}}}; }
};

}  // namespace lockstep
