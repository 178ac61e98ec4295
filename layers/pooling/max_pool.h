// Max pooling with the positions of the maxima, its gradient, and the Keras-style layer. Immutable: any thread.
#pragma once

#include "layers/base/window.h"

namespace lockstep {

/// From x [N,H,W,C]: y [N,P,Q,C], the maximum of each window (with `relu`, at least 0), and argmax u8[N,P,Q,C], its
/// place r * width + s inside the window. The first maximum wins; NaN counts as the largest. Padding never wins.
/// A window has at most 256 elements.
class MaxPoolOp final : public Op {
 public:
  explicit MaxPoolOp(Window pool_window, bool fused_relu = false) : window(pool_window), relu(fused_relu) {}
  std::string_view name() const override { return "max_pool"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;

  const Window window;
  const bool relu;
};

/// dx from (argmax, dy), and y where `relu`: each dy goes to the place of its maximum, where y > 0; windows that
/// overlap add in ascending order of (p, q). x had the shape `x` with the batch size of dy.
class MaxPoolGradOp final : public Op {
 public:
  MaxPoolGradOp(Window pool_window, bool fused_relu, Shape x_shape)
      : window(pool_window), relu(fused_relu), x(x_shape) {}
  std::string_view name() const override { return "max_pool_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::string attributes() const override;

  const Window window;
  const bool relu;
  const Shape x;  // dimension 0 is not used: it follows dy
};

struct PoolOptions {
  Size2 strides{0, 0};  // {0, 0}: the pool's size
  Padding padding = Padding::valid;
};

/// With the default resolved.
PoolOptions with_strides(PoolOptions options, Size2 pool_size);

/// The largest value of each window, per channel, over [N,H,W,C].
class MaxPooling2D final : public LayerOf<MaxPooling2D> {
 public:
  explicit MaxPooling2D(Size2 pool = {2, 2}, PoolOptions pool_options = {})
      : pool_size(pool), options(with_strides(pool_options, pool)) {}
  std::string_view type() const override { return "MaxPooling2D"; }
  std::string_view base_name() const override { return "max_pooling2d"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  Size2 pool_size;
  PoolOptions options;
};

/// What the gradients of both poolings can do: cut along any dimension.
std::vector<Rule> pool_grad_rules(size_t inputs);
/// The options of the two pooling layers.
void describe_pool(Fields& fields, Size2& pool_size, PoolOptions& options);
/// The window that these options mean for a pooling layer's only input, which is images.
Window pool_window(const Builder& builder, std::span<const Value> in, Size2 pool_size, const PoolOptions& options);

}  // namespace lockstep
