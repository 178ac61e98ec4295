// The largest value of each channel of whole images, with its gradient, and the Keras-style layer. Immutable: any
// thread.
#pragma once

#include "layers/base/layer.h"

namespace lockstep {

/// From x [N,H,W,C]: y [N,C], the maximum over the pixels, and argmax i32[N,C], the pixel h * W + w where it is. The
/// first maximum wins; NaN counts as the largest.
class GlobalMaxPoolOp final : public Op {
 public:
  std::string_view name() const override { return "global_max_pool"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
};

/// dx [N,H,W,C] from (argmax, dy [N,C]): dy at its maximum's pixel, 0 elsewhere. x had the shape `x` with the batch
/// size of dy.
class GlobalMaxPoolGradOp final : public Op {
 public:
  explicit GlobalMaxPoolGradOp(Shape x_shape) : x(x_shape) {}
  std::string_view name() const override { return "global_max_pool_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;

  const Shape x;  // dimension 0 is not used: it follows dy
};

class GlobalMaxPooling2D final : public LayerOf<GlobalMaxPooling2D> {
 public:
  std::string_view type() const override { return "GlobalMaxPooling2D"; }
  std::string_view base_name() const override { return "global_max_pooling2d"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
