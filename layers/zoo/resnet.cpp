// The residual networks of He et al., "Deep residual learning for image recognition", CVPR 2016.
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

Symbol conv_norm_relu(const Symbol& x, int64_t filters, int64_t kernel, int64_t stride, const std::string& name) {
  return ReLU().named(name + "_relu")(conv_norm(x, filters, kernel, stride, name));
}

/// relu(y + shortcut of x), where a shortcut into another shape is projected by a 1x1 convolution.
Symbol residual(const Symbol& y, const Symbol& x, int64_t filters, int64_t stride, bool project,
                const std::string& name) {
  const Symbol shortcut = project ? conv_norm(x, filters, 1, stride, name + "_0") : x;
  return ReLU().named(name + "_relu")(Add().named(name + "_add")({y, shortcut}));
}

Symbol basic_block(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name) {
  Symbol y = conv_norm_relu(x, filters, 3, stride, name + "_1");
  y = conv_norm(y, filters, 3, 1, name + "_2");
  return residual(y, x, filters, stride, project, name);
}

Symbol bottleneck(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name) {
  Symbol y = conv_norm_relu(x, filters, 1, 1, name + "_1");
  y = conv_norm_relu(y, filters, 3, stride, name + "_2");
  y = conv_norm(y, 4 * filters, 1, 1, name + "_3");
  return residual(y, x, 4 * filters, stride, project, name);
}

std::string block_name(int64_t stage, int64_t block) { return fmt::format("stage{}_block{}", stage + 1, block + 1); }

Network classifier(const std::string& name, const Symbol& x, int64_t classes) {
  return Network(name, Dense(classes, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x)));
}

}  // namespace

Network resnet18(const Shape& image, int64_t classes) {
  Symbol x = conv_norm_relu(Input({image[0], image[1], image[2]}), 64, 3, 1, "stem");
  for (int64_t stage = 0; stage < 4; ++stage)
    for (int64_t block = 0; block < 2; ++block) {
      const bool first = block == 0 && stage > 0;
      x = basic_block(x, 64 << stage, first ? 2 : 1, first, block_name(stage, block));
    }
  return classifier("resnet18", x, classes);
}

Network resnet50(const Shape& image, int64_t classes) {
  constexpr int64_t blocks[] = {3, 4, 6, 3};
  Symbol x = conv_norm_relu(Input({image[0], image[1], image[2]}), 64, 7, 2, "stem");
  x = MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = Padding::same}).named("stem_pool")(x);
  for (int64_t stage = 0; stage < 4; ++stage)
    for (int64_t block = 0; block < blocks[stage]; ++block) {
      const bool first = block == 0;
      x = bottleneck(x, 64 << stage, first && stage > 0 ? 2 : 1, first, block_name(stage, block));
    }
  return classifier("resnet50", x, classes);
}

}  // namespace lockstep
