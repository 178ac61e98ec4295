// Dropout of whole channels. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015, section 3.2, scaled as
/// dropout is: y = x times 1 / (1 - rate) where the channel is kept, else times 0, for all pixels of a sample alike
/// (NaN stays NaN). Inputs: x [N,H,W,C], step_state, lane_state. Channel c of the lane's sample n is kept where
///   to_uniform(Random(seed, Purpose::dropout, layer, step).bits(lane.first + n, c / 4)[c % 4]) >= rate.
/// Where x holds some of the channels, c counts in all of them.
class SpatialDropoutOp final : public Op {
 public:
  /// x begins at channel `first`. Throws InputError unless 0 <= rate < 1.
  SpatialDropoutOp(float rate, uint32_t layer, int64_t first = 0);
  std::string_view name() const override { return "spatial_dropout"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;
  /// The same operator on dy.
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override;

  const float rate;
  const uint32_t layer;
  const int64_t first;
};

/// Drops channels while training; nothing at all otherwise.
class SpatialDropout2D final : public LayerOf<SpatialDropout2D> {
 public:
  SpatialDropout2D() = default;
  explicit SpatialDropout2D(float rate) : rate(rate) {}
  std::string_view type() const override { return "SpatialDropout2D"; }
  std::string_view base_name() const override { return "spatial_dropout2d"; }
  void describe(Fields& fields) override { fields.field("rate", rate, true); }
  /// Throws InputError unless 0 <= rate < 1.
  Value build(Builder& builder, std::span<const Value> in) const override;

  float rate = 0.5F;
};

}  // namespace lockstep
