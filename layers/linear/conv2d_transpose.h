// Transposed convolution, as decoders have it: a Keras-style layer over the gradient of a convolution.
#pragma once

#include "layers/linear/conv2d.h"

namespace lockstep {

struct Conv2DTransposeOptions {
  Size2 strides{1, 1};
  Padding padding = Padding::valid;
  /// Rows and columns more after the image, below the strides. {-1, -1}: as Keras' None, as many as make the output
  /// `strides` times the input (`same`), or cover the strides (`valid`).
  Size2 output_padding{-1, -1};
  Activation activation = Activation::linear;
  bool use_bias = true;
  Size2 dilation_rate{1, 1};
  Regularizer kernel_regularizer = {}, bias_regularizer = {};
};

/// Each pixel of [N,P,Q,K] adds its kernel to an image [N,H,W,filters], at strides: H = (P - 1) * stride + extent -
/// padding + output_padding, extent = (kernel - 1) * dilation + 1. That is the gradient of the Conv2D that makes P of
/// H. With pixels for its padding, it is PyTorch's. Variables: kernel [K, kh, kw, filters] (Glorot uniform), bias
/// [filters] (zeros).
class Conv2DTranspose final : public LayerOf<Conv2DTranspose> {
 public:
  Conv2DTranspose() = default;
  Conv2DTranspose(int64_t filters, Size2 kernel_size, Conv2DTransposeOptions options = {})
      : filters(filters), kernel_size(kernel_size), options(options) {}
  std::string_view type() const override { return "Conv2DTranspose"; }
  std::string_view base_name() const override { return "conv2d_transpose"; }
  void describe(Fields& fields) override;
  Value build(Builder& builder, std::span<const Value> in) const override;

  int64_t filters = 0;
  Size2 kernel_size{1, 1};
  Conv2DTransposeOptions options;
};

}  // namespace lockstep
