// Layer and group normalisation: statistics over one sample, or one pixel, alone. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Over what a mean and a variance are taken.
enum class NormOver : unsigned char {
  channels,  // of each pixel: Ba et al., "Layer normalization", 2016, eq. 4
  group,     // of channels, over all pixels of a sample: Wu and He, "Group normalization", ECCV 2018, eq. 7
};

/// What group norm and its gradient are made for.
struct GroupNormAttributes {
  NormOver over = NormOver::channels;
  int64_t groups = 1;  // 1 for `channels`
  float epsilon = 1e-3F;

  /// Of the means and of the inverse deviations: [N, groups], or x with one channel.
  Shape statistics(const Shape& x) const;
  std::string str() const;
};

/// y = gamma * (x - mean) / sqrt(variance + epsilon) + beta, variances biased.
/// Inputs: x [N,…,C], gamma [C], beta [C]. Outputs: y, and f32 mean and inverse deviation. y has the type of x, gamma
/// and beta are f32.
class GroupNormOp final : public Op {
 public:
  /// Throws InputError unless epsilon > 0.
  explicit GroupNormOp(GroupNormAttributes norm);
  std::string_view name() const override { return "group_norm"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return norm.str(); }

  const GroupNormAttributes norm;
};

/// Inputs: x, dy, gamma, mean, inverse deviation. Outputs: dx of x's type, dgamma [C], dbeta [C], f32: sums over the
/// batch, so Partial where it is sharded.
class GroupNormGradOp final : public Op {
 public:
  explicit GroupNormGradOp(GroupNormAttributes norm) : norm(norm) {}
  std::string_view name() const override { return "group_norm_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  std::string attributes() const override { return norm.str(); }

  const GroupNormAttributes norm;
};

/// What layer and group normalisation have in common.
struct SampleNormOptions {
  int64_t axis = -1;
  float epsilon = 1e-3F;
  Regularizer beta_regularizer = {}, gamma_regularizer = {};
};

/// Normalises over the last dimension. Variables: gamma (ones), beta (zeros).
class LayerNormalization final : public LayerOf<LayerNormalization> {
 public:
  LayerNormalization() = default;
  explicit LayerNormalization(SampleNormOptions options) : options(options) {}
  std::string_view type() const override { return "LayerNormalization"; }
  std::string_view base_name() const override { return "layer_normalization"; }
  void describe(Fields& fields) override;
  /// Throws InputError unless epsilon > 0 and the axis is the last.
  Value build(Builder& builder, std::span<const Value> in) const override;

  SampleNormOptions options;
};

/// Normalises each sample's groups of channels; -1 groups are as many as channels (instance normalisation). Variables:
/// gamma (ones), beta (zeros).
class GroupNormalization final : public LayerOf<GroupNormalization> {
 public:
  GroupNormalization() = default;
  explicit GroupNormalization(int64_t groups, SampleNormOptions options = {}) : groups(groups), options(options) {}
  std::string_view type() const override { return "GroupNormalization"; }
  std::string_view base_name() const override { return "group_normalization"; }
  void describe(Fields& fields) override;
  /// Throws InputError unless epsilon > 0, the axis is the last, and the channels divide into the groups.
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t groups = 32;
  SampleNormOptions options;
};

}  // namespace lockstep
