// Convolutions of each channel by itself, alone (DepthwiseConv2D) and followed by a 1x1 convolution over all of them
// (SeparableConv2D): Keras-style layers over Conv2dOp with a group a channel.
#pragma once

#include "layers/linear/conv2d.h"

namespace lockstep {

struct DepthwiseConv2DOptions {
  Size2 strides{1, 1};
  Padding padding = Padding::valid;
  int64_t depth_multiplier = 1;
  Activation activation = Activation::linear;
  bool use_bias = true;
  Size2 dilation_rate{1, 1};
  /// `pointwise_regularizer` is SeparableConv2D's alone.
  Regularizer depthwise_regularizer = {}, pointwise_regularizer = {}, bias_regularizer = {};
};

/// `depth_multiplier` (m) filters for each of the C channels of [N,H,W,C]: channel c makes outputs c * m to c * m + m
/// - 1. Variables: kernel [C * m, kh, kw, 1] (Glorot uniform), bias [C * m] (zeros).
class DepthwiseConv2D final : public LayerOf<DepthwiseConv2D> {
 public:
  DepthwiseConv2D() = default;
  explicit DepthwiseConv2D(Size2 kernel_size, DepthwiseConv2DOptions options = {})
      : kernel_size(kernel_size), options(options) {}
  std::string_view type() const override { return "DepthwiseConv2D"; }
  std::string_view base_name() const override { return "depthwise_conv2d"; }
  void describe(Fields& fields) override;
  /// Throws InputError for a pointwise_regularizer.
  Value build(Builder& builder, std::span<const Value> in) const override;

  Size2 kernel_size{1, 1};
  DepthwiseConv2DOptions options;
};

/// A depthwise convolution, which has the strides, the padding and the dilation, then a 1x1 convolution to `filters`
/// with the bias and the activation. Variables: depthwise_kernel [C * m, kh, kw, 1], pointwise_kernel [filters, 1, 1,
/// C * m] (both Glorot uniform), bias [filters] (zeros).
class SeparableConv2D final : public LayerOf<SeparableConv2D> {
 public:
  SeparableConv2D() = default;
  SeparableConv2D(int64_t filters, Size2 kernel_size, DepthwiseConv2DOptions options = {})
      : filters(filters), kernel_size(kernel_size), options(options) {}
  std::string_view type() const override { return "SeparableConv2D"; }
  std::string_view base_name() const override { return "separable_conv2d"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t filters = 0;
  Size2 kernel_size{1, 1};
  DepthwiseConv2DOptions options;
};

}  // namespace lockstep
