// Dropout: the operator, which is its own gradient, and the Keras-style layer. Immutable: any thread.
#pragma once

#include "layers/layer.h"

namespace lockstep {

/// Srivastava et al., "Dropout", JMLR 2014, scaled while training: y = x / (1 - rate) where the element is kept, else
/// 0. Inputs: x [N, …], step_state, lane_state. Element e of the lane's sample n is kept where
///   to_uniform(Random(seed, Purpose::Dropout, layer, step).bits(lane.first + n, e / 4)[e % 4]) >= rate,
/// so the mask does not depend on lanes, ranks or threads.
class DropoutOp final : public Op {
 public:
  /// `layer` is the layer's place in the network: each has a mask of its own. Throws InputError unless 0 <= rate < 1.
  DropoutOp(float rate, uint32_t layer);
  std::string_view name() const override { return "dropout"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  /// The same operator on dy.
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::InPlace; }
  std::string attributes() const override;

  const float rate;
  const uint32_t layer;
};

/// Drops while training; nothing at all otherwise.
class Dropout final : public LayerOf<Dropout> {
 public:
  Dropout() = default;
  explicit Dropout(float rate) : rate(rate) {}
  std::string_view type() const override { return "Dropout"; }
  std::string_view base_name() const override { return "dropout"; }
  void describe(Fields& fields) override;
  /// Throws InputError unless 0 <= rate < 1.
  Value build(Builder& builder, std::span<const Value> in) const override;

  float rate = 0.5F;
};

}  // namespace lockstep
