// Convolution: the operator with its two gradients, and the Keras-style layer.
#pragma once

#include "layers/base/layer.h"
#include "layers/base/window.h"

namespace lockstep {

/// Attributes shared by a convolution and its gradients. Padding is explicit: pixels before and after, per side.
struct Conv2dAttributes {
  Size2 kernel{1, 1}, stride{1, 1}, pad_before{0, 0}, pad_after{0, 0};
  int64_t groups = 1;
  Size2 dilation{1, 1};
  /// Of a Conv2DTranspose: a strategy's filters are then the channels of x, which that layer makes, and its channels
  /// are the filters.
  bool transposed = false;

  Window window() const { return {kernel, stride, pad_before, pad_after, dilation}; }
};
/// A convolution with this window.
Conv2dAttributes convolve(const Window& window, int64_t groups = 1);

/// y[N,P,Q,K] = conv(x[N,H,W,C], w[K,R,S,C/groups]) (+ b[K]), cross-correlation as everywhere in the field; with
/// `relu`, max(y, 0). Inputs: x, w, and b where `bias`. y has the type of x; w and b are f32.
class Conv2dOp final : public Op {
 public:
  Conv2dOp(Conv2dAttributes attributes, bool bias, bool relu) : conv(attributes), bias(bias), relu(relu) {}
  std::string_view name() const override { return "conv2d"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;
  double flops(const Signature& s) const override { return product_flops(s.in[1], s.out[0]); }

  const Conv2dAttributes conv;
  const bool bias, relu;
};

/// dx from (w, dy), of dy's type, where x had the shape `x` with the batch size of dy. As a forward operator it is the
/// transposed convolution of dy.
class Conv2dDataGradOp final : public Op {
 public:
  Conv2dDataGradOp(Conv2dAttributes attributes, Shape x) : conv(attributes), x(x) {}
  std::string_view name() const override { return "conv2d_data_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  std::vector<Value> backward(Graph& graph, const Node& node, std::span<const Value> dy) const override;
  std::string attributes() const override;
  double flops(const Signature& s) const override { return product_flops(s.in[0], s.in[1]); }

  const Conv2dAttributes conv;
  const Shape x;  // dimension 0 is not used: it follows dy
};

/// dw (and db where `bias`), f32, from (x, dy), of one type: sums over the batch, so Partial where the batch is
/// sharded.
class Conv2dWeightGradOp final : public Op {
 public:
  Conv2dWeightGradOp(Conv2dAttributes attributes, bool bias) : conv(attributes), bias(bias) {}
  std::string_view name() const override { return "conv2d_weight_grad"; }
  std::vector<Type> infer(std::span<const Type> in) const override;
  std::vector<Rule> rules() const override;
  Interval needs(int dim, Interval seen, int64_t size) const override;
  Local local(const Part& part) const override;
  double flops(const Signature& s) const override { return product_flops(s.out[0], s.in[1]); }

  const Conv2dAttributes conv;
  const bool bias;
};

struct Conv2DOptions {
  Size2 strides{1, 1};
  Padding padding = Padding::valid;
  Activation activation = Activation::linear;
  bool use_bias = true;
  int64_t groups = 1;
  Size2 dilation_rate{1, 1};
  Regularizer kernel_regularizer = {}, bias_regularizer = {};
};

/// 2-D convolution over [N,H,W,C].
/// Variables: kernel [filters, kh, kw, C/groups] (Glorot uniform), bias [filters] (zeros).
class Conv2D final : public LayerOf<Conv2D> {
 public:
  Conv2D() = default;
  Conv2D(int64_t filters, Size2 kernel_size, Conv2DOptions options = {})
      : filters(filters), kernel_size(kernel_size), options(options) {}
  std::string_view type() const override { return "Conv2D"; }
  std::string_view base_name() const override { return "conv2d"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t filters = 0;
  Size2 kernel_size{1, 1};
  Conv2DOptions options;
};

}  // namespace lockstep
