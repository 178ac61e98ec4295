// Cross-entropy with distributions over classes as targets, focal or not, and its gradient. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

struct CategoricalOptions {
  float label_smoothing = 0;  // targets are mixed with so much of the uniform distribution
  bool focal = false;
  float alpha = 0.25F, gamma = 2;  // of focal

  std::string str() const;
};

/// Inputs: logits [N,…,K], what a softmax at the network's end takes; targets f32 of the same shape, a weight a class;
/// lane_state. Where `scaled`, loss_scale f32[2] at the end, by whose scale the gradient alone is multiplied.
/// Output f32[1]: over the lane's real samples, the sum of each sample's mean over its rows (one, or its pixels) of
/// -sum_k t_k log p_k, with p = softmax(logits) and t the smoothed targets (Szegedy et al., "Rethinking the Inception
/// architecture", CVPR 2016, section 7); focal, of -sum_k alpha (1 - p_k)^gamma t_k log p_k (Lin et al., "Focal loss
/// for dense object detection", ICCV 2017, eq. 5, over all classes as Keras has it).
class CategoricalLossOp final : public Op {
 public:
  explicit CategoricalLossOp(CategoricalOptions options, bool scaled = false) : options(options), scaled(scaled) {}
  std::string_view name() const override { return "categorical_loss"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return options.str() + (scaled ? " scaled" : ""); }

  const CategoricalOptions options;
  const bool scaled;
};

/// Its gradient by the logits, from the same inputs; 0 for padding samples.
class CategoricalLossGradOp final : public Op {
 public:
  explicit CategoricalLossGradOp(CategoricalOptions options, bool scaled = false) : options(options), scaled(scaled) {}
  std::string_view name() const override { return "categorical_loss_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::string attributes() const override { return options.str() + (scaled ? " scaled" : ""); }

  const CategoricalOptions options;
  const bool scaled;
};

}  // namespace lockstep
