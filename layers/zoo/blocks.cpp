#include "layers/zoo/blocks.h"

namespace lockstep {

Symbol conv_norm(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name) {
  const Size2 kernel{options.kernel, options.kernel}, strides{options.stride, options.stride};
  const Padding padding = options.kernel / 2;
  Symbol y;
  if (options.depthwise)
    y = DepthwiseConv2D(kernel, {.strides = strides, .padding = padding, .use_bias = false}).named(name + "_conv")(x);
  else
    y = Conv2D(filters, kernel, {.strides = strides, .padding = padding, .use_bias = false}).named(name + "_conv")(x);
  return BatchNormalization({.momentum = 0.9F, .epsilon = options.epsilon}).named(name + "_norm")(y);
}

Symbol conv_norm_relu(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name) {
  return ReLU().named(name + "_relu")(conv_norm(x, filters, options, name));
}

MaxPooling2D stem_pool() { return MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = 1}).named("stem_pool"); }

Network classifier(const std::string& name, const Symbol& x, int64_t classes, float dropout) {
  Symbol y = GlobalAveragePooling2D()(x);
  if (dropout > 0) y = Dropout(dropout)(y);
  return Network(name, Dense(classes, {.activation = Activation::softmax})(y));
}

}  // namespace lockstep
