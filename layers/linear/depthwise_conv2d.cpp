#include "layers/linear/depthwise_conv2d.h"

#include "core/error.h"
#include "layers/base/check.h"

namespace lockstep {

namespace {

void describe_options(Fields& fields, Size2& kernel_size, DepthwiseConv2DOptions& options) {
  fields.field("kernel_size", kernel_size, true);
  fields.field("strides", options.strides);
  fields.field("padding", options.padding);
  fields.field("depth_multiplier", options.depth_multiplier);
  fields.field("activation", options.activation);
  fields.field("use_bias", options.use_bias);
  fields.field("dilation_rate", options.dilation_rate);
  fields.field("depthwise_regularizer", options.depthwise_regularizer);
  fields.field("bias_regularizer", options.bias_regularizer);
}

/// The convolution of each channel of `x`, with the variables "<prefix>kernel" and, where wanted, "<prefix>bias".
Value depthwise(Builder& builder, std::string_view node, const std::string& prefix, Value x, Size2 kernel_size,
                const DepthwiseConv2DOptions& options, bool bias) {
  expect_image(builder.type(x));
  if (options.depth_multiplier < 1)
    throw InputError("layer '{}': depth_multiplier is {}, expected at least 1", builder.layer(),
                     options.depth_multiplier);
  const Shape shape = builder.type(x).shape;
  const Window window = make_window(kernel_size, options.strides, options.padding, shape, options.dilation_rate);
  const int64_t channels = shape[3], filters = channels * options.depth_multiplier;
  const int64_t area = kernel_size[0] * kernel_size[1];
  // The fans of Keras' kernel (height, width, channels, depth_multiplier).
  const Initializer initial = glorot_uniform(area * channels, area * options.depth_multiplier);
  std::vector<Value> in{x, builder.parameter(prefix + "kernel", {filters, kernel_size[0], kernel_size[1], 1}, initial,
                                             options.depthwise_regularizer)};
  if (bias) in.push_back(builder.parameter(prefix + "bias", {filters}, zeros, options.bias_regularizer));
  return builder.add1(node, std::make_shared<Conv2dOp>(convolve(window, channels), bias, false), std::move(in));
}

}  // namespace

void DepthwiseConv2D::describe(Fields& fields) { describe_options(fields, kernel_size, options); }

Value DepthwiseConv2D::build(Builder& builder, std::span<const Value> in) const {
  if (options.pointwise_regularizer.any())
    throw InputError("a DepthwiseConv2D has no pointwise kernel; expected depthwise_regularizer or bias_regularizer");
  const Value y = depthwise(builder, "", "", only_input(in), kernel_size, options, options.use_bias);
  return builder.activate(y, options.activation);
}

void SeparableConv2D::describe(Fields& fields) {
  fields.field("filters", filters, true);
  describe_options(fields, kernel_size, options);
  fields.field("pointwise_regularizer", options.pointwise_regularizer);
}

Value SeparableConv2D::build(Builder& builder, std::span<const Value> in) const {
  if (filters < 1) throw InputError("{} filters, expected at least 1", filters);
  const Value y = depthwise(builder, "depthwise", "depthwise_", only_input(in), kernel_size, options, false);
  const int64_t channels = builder.type(y).shape[3];
  std::vector<Value> values{y, builder.parameter("pointwise_kernel", {filters, 1, 1, channels},
                                                 glorot_uniform(channels, filters), options.pointwise_regularizer)};
  if (options.use_bias) values.push_back(builder.parameter("bias", {filters}, zeros, options.bias_regularizer));
  const auto op = std::make_shared<Conv2dOp>(Conv2dAttributes{}, options.use_bias, false);
  return builder.activate(builder.add1("", op, std::move(values)), options.activation);
}

}  // namespace lockstep
