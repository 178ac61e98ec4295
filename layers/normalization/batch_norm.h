// Batch normalisation: the training operator with its gradient, the inference operator, and the Keras-style layer.
// Immutable: any thread.
#pragma once

#include "layers/activations/relu.h"
#include "layers/base/layer.h"
#include "layers/normalization/moments.h"

namespace lockstep {

/// Ioffe and Szegedy, "Batch normalization", ICML 2015, algorithm 1, with the statistics of one lane:
///   y = gamma * (x - mean) / sqrt(variance + epsilon) + beta [+ residual] [then relu]
/// Inputs: x [N,C] or [N,H,W,C], gamma [C], beta [C], lane_state, and residual (as x) where `add`.
/// Outputs: y; mean [L,C] and inverse deviation [L,C], one row a lane (logically all lanes, locally the one); the
/// moments of the lane's values [C,4], a term of what MergeMomentsOp makes of all lanes: the global batch's moments. y
/// has the type of x; all others are f32. The variance that training divides by is the lane's biased one.
/// Mean and variance are over the lane's valid samples. Padding samples are normalised to 0, so that they stay finite
/// through any depth of network. A lane without a valid sample has mean 0, variance 0 and no moments.
class BatchNormOp final : public Op {
 public:
  /// Throws InputError unless epsilon > 0.
  BatchNormOp(float epsilon, FusedRelu relu, bool add);
  std::string_view name() const override { return "batch_norm"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;
  /// The same with other work after it; the residual is then the last input.
  std::shared_ptr<const Op> fused(FusedRelu with_relu, bool with_add) const;
  /// For the kernels' makers: throws InputError where a lane of x holds one value a channel, which has no variance.
  static void expect_variance(const Type& x, int64_t lanes);

  const float epsilon;
  const FusedRelu relu;
  const bool add;
};

/// Inputs: x, y (only where `relu`: its mask is 0 < y < top), dy, gamma, mean, inverse deviation, lane_state.
/// Outputs: dx, dgamma [C], dbeta [C] (terms of sums over lanes), and the residual's gradient where `add`.
/// dx and the residual's gradient are 0 for padding samples, and have the type of x; all others are f32.
class BatchNormGradOp final : public Op {
 public:
  BatchNormGradOp(FusedRelu relu, bool add) : relu(relu), add(add) {}
  std::string_view name() const override { return "batch_norm_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const FusedRelu relu;
  const bool add;
};

/// The same y from kept statistics. Inputs: x, gamma, beta, moving mean [C], moving variance [C], and residual where
/// `add`. Every sample is treated alike.
class BatchNormInferenceOp final : public Op {
 public:
  /// Throws InputError unless epsilon > 0.
  BatchNormInferenceOp(float epsilon, FusedRelu relu, bool add);
  std::string_view name() const override { return "batch_norm_inference"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;
  /// The same with other work after it; the residual is then the last input.
  std::shared_ptr<const Op> fused(FusedRelu with_relu, bool with_add) const;

  const float epsilon;
  const FusedRelu relu;
  const bool add;
};

struct BatchNormalizationOptions {
  /// moving = momentum * moving + (1 - momentum) * global batch's, as in Keras (PyTorch's momentum is 1 minus this);
  /// its variance is the unbiased one, as in PyTorch and TensorFlow's fused form.
  float momentum = 0.99F;
  float epsilon = 1e-3F;
  Regularizer beta_regularizer = {}, gamma_regularizer = {};
};

/// Variables: gamma (ones), beta (zeros), trained; moving_mean (zeros), moving_variance (ones), kept.
class BatchNormalization final : public LayerOf<BatchNormalization> {
 public:
  BatchNormalization() = default;
  explicit BatchNormalization(BatchNormalizationOptions options) : options(options) {}
  std::string_view type() const override { return "BatchNormalization"; }
  std::string_view base_name() const override { return "batch_normalization"; }
  void describe(Fields& fields) override;
  /// Throws InputError unless epsilon > 0 and 0 <= momentum <= 1.
  Value build(Builder& builder, std::span<const Value> in) const override;

  BatchNormalizationOptions options;
};

}  // namespace lockstep
