// Elementwise product, also of images with one factor a channel. Immutable: any thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// a * b, of one shape; where `gated`, a is [N,H,W,C] and b [N,1,1,C], which stands for every pixel (Hu et al.,
/// "Squeeze-and-excitation networks", CVPR 2018, eq. 4).
class MultiplyOp final : public Op {
 public:
  explicit MultiplyOp(bool gated) : gated(gated) {}
  std::string_view name() const override { return "multiply"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  Reuse reuse() const override { return Reuse::in_place; }
  std::string attributes() const override { return gated ? "by channel" : ""; }

  const bool gated;
};

/// db [N,1,1,C] from (a, dy), both [N,H,W,C]: the sum over the pixels of a * dy.
class GateGradOp final : public Op {
 public:
  std::string_view name() const override { return "gate_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
};

/// The product of two or more inputs of one shape; of two, one may be [N,1,1,C] where the other is [N,H,W,C].
class Multiply final : public LayerOf<Multiply> {
 public:
  std::string_view type() const override { return "Multiply"; }
  std::string_view base_name() const override { return "multiply"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
