// Sparse categorical cross-entropy with the accuracy beside it, and its gradient. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Inputs: logits [N,K], what a softmax at the network's end takes; labels i32[N]; lane_state. Or a row of classes and
/// a label a pixel, [N,H,W,K] and i32[N,H,W]: then a sample's loss is the mean over its pixels. Outputs, over the
/// lane's real samples: sum of -log softmax(logits)[label] as f32[1], and the number of correct predictions (the first
/// maximum is the label), of pixels where these have labels, as f32[1]. From logits and not from probabilities, as
/// Keras does where a network ends in a softmax: no probability is so small that its gradient is lost. Where `scaled`,
/// one more input at the end, loss_scale f32[2], by whose scale the gradient alone is multiplied.
class CrossEntropyOp final : public Op {
 public:
  explicit CrossEntropyOp(bool scaled = false) : scaled(scaled) {}
  std::string_view name() const override { return "cross_entropy"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return scaled ? "scaled" : ""; }

  const bool scaled;
};

/// Gradient of the sum by the logits, softmax(x) - onehot of the logits' shape (over the pixels of a sample), from the
/// same inputs, and times the scale where `scaled`; 0 for padding samples.
class CrossEntropyGradOp final : public Op {
 public:
  explicit CrossEntropyGradOp(bool scaled = false) : scaled(scaled) {}
  std::string_view name() const override { return "cross_entropy_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return scaled ? "scaled" : ""; }

  const bool scaled;
};

}  // namespace lockstep
