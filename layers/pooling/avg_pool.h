// Average pooling over windows and over whole images, with gradients and Keras-style layers. Immutable: any thread.
#pragma once

#include "layers/pooling/max_pool.h"

namespace lockstep {

/// y[N,P,Q,C]: the mean of the pixels of x [N,H,W,C] under each window; padding does not count, as in Keras.
class AvgPoolOp final : public Op {
 public:
  explicit AvgPoolOp(Window pool_window) : window(pool_window) {}
  std::string_view name() const override { return "avg_pool"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override { return to_string(window); }

  const Window window;
};

/// dx from (dy), where x had the shape `x` with the batch size of dy.
class AvgPoolGradOp final : public Op {
 public:
  AvgPoolGradOp(Window pool_window, Shape x_shape) : window(pool_window), x(x_shape) {}
  std::string_view name() const override { return "avg_pool_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::string attributes() const override { return to_string(window); }

  const Window window;
  const Shape x;  // dimension 0 is not used: it follows dy
};

/// y[N,C]: the sum of x [N,H,W,C] over H and W, divided by `pixels`: H * W where x is a whole image.
class GlobalAvgPoolOp final : public Op {
 public:
  explicit GlobalAvgPoolOp(int64_t pixels) : pixels(pixels) {}
  std::string_view name() const override { return "global_avg_pool"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;

  const int64_t pixels;
};

/// dx [N,H,W,C] from (dy [N,C]): dy / pixels at each pixel. x had the shape `x` with the batch size of dy.
class GlobalAvgPoolGradOp final : public Op {
 public:
  GlobalAvgPoolGradOp(int64_t pixels, Shape x_shape) : pixels(pixels), x(x_shape) {}
  std::string_view name() const override { return "global_avg_pool_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Local local(const Part& part) const override;

  const int64_t pixels;
  const Shape x;  // dimension 0 is not used: it follows dy
};

class AveragePooling2D final : public LayerOf<AveragePooling2D> {
 public:
  explicit AveragePooling2D(Size2 pool = {2, 2}, PoolOptions pool_options = {})
      : pool_size(pool), options(with_strides(pool_options, pool)) {}
  std::string_view type() const override { return "AveragePooling2D"; }
  std::string_view base_name() const override { return "average_pooling2d"; }
  void describe(Fields& fields) override { describe_pool(fields, pool_size, options); }
  Value build(Builder& builder, std::span<const Value> in) const override;

  Size2 pool_size;
  PoolOptions options;
};

class GlobalAveragePooling2D final : public LayerOf<GlobalAveragePooling2D> {
 public:
  std::string_view type() const override { return "GlobalAveragePooling2D"; }
  std::string_view base_name() const override { return "global_average_pooling2d"; }
  void describe(Fields&) override {}
  Value build(Builder& builder, std::span<const Value> in) const override;
};

}  // namespace lockstep
