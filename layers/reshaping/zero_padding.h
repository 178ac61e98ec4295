// Zeros around images, or a border taken away, and the Keras-style layer. Immutable: any thread.
#pragma once

#include "layers/base/window.h"

namespace lockstep {

/// y[N,P,Q,C]: x [N,H,W,C] with so many rows and columns of zeros before and after; where they are negative, so many
/// are taken away instead. So its gradient is the same operator with the signs turned. With 9 before and -2 after, one
/// row becomes 8 rows of zeros: the first 8 of the 10.
class PadOp final : public Op {
 public:
  PadOp(Size2 before, Size2 after) : before(before), after(after) {}
  std::string_view name() const override { return "pad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;

  const Size2 before, after;
};

/// Keras' ZeroPadding2D over [N,H,W,C]. In JSON its padding is a number, [height, width] or [[top, bottom], [left,
/// right]].
class ZeroPadding2D final : public LayerOf<ZeroPadding2D> {
 public:
  explicit ZeroPadding2D(Padding pixels = 1) : padding(pixels) {}
  std::string_view type() const override { return "ZeroPadding2D"; }
  std::string_view base_name() const override { return "zero_padding2d"; }
  void describe(Fields& fields) override { fields.field("padding", padding); }
  Value build(Builder& builder, std::span<const Value> in) const override;

  Padding padding;
};

}  // namespace lockstep
