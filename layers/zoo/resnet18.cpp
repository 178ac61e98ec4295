#include <fmt/format.h>

#include "layers/ops.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol conv_norm(const Symbol& x, int64_t filters, int64_t kernel, int64_t stride, const std::string& name) {
  const Conv2DOptions options{.strides = {stride, stride}, .padding = Padding::same, .use_bias = false};
  const Symbol y = Conv2D(filters, {kernel, kernel}, options).named(name + "_conv")(x);
  return BatchNormalization({.momentum = 0.9F, .epsilon = 1e-5F}).named(name + "_norm")(y);
}

Symbol basic_block(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name) {
  Symbol y = conv_norm(x, filters, 3, stride, name + "_1");
  y = ReLU().named(name + "_1_relu")(y);
  y = conv_norm(y, filters, 3, 1, name + "_2");
  const Symbol shortcut = project ? conv_norm(x, filters, 1, stride, name + "_0") : x;
  return ReLU().named(name + "_relu")(Add().named(name + "_add")({y, shortcut}));
}

}  // namespace

Network resnet18(const Shape& image, int64_t classes) {
  Symbol x = conv_norm(Input({image[0], image[1], image[2]}), 64, 3, 1, "stem");
  x = ReLU().named("stem_relu")(x);
  for (int64_t stage = 0; stage < 4; ++stage)
    for (int64_t block = 0; block < 2; ++block) {
      const bool first = block == 0 && stage > 0;
      x = basic_block(x, 64 << stage, first ? 2 : 1, first, fmt::format("stage{}_block{}", stage + 1, block + 1));
    }
  x = GlobalAveragePooling2D()(x);
  return Network("resnet18", Dense(classes, {.activation = Activation::softmax})(x));
}

}  // namespace lockstep
