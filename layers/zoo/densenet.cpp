// Huang et al., "Densely connected convolutional networks", CVPR 2017.
#include <fmt/format.h>

#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol norm_relu(const Symbol& x, const std::string& name) {
  return ReLU().named(name +
                      "_relu")(BatchNormalization({.momentum = 0.9F, .epsilon = 1e-5F}).named(name + "_norm")(x));
}

Symbol conv(const Symbol& x, int64_t filters, int64_t kernel, const std::string& name) {
  return Conv2D(filters, {kernel, kernel}, {.padding = kernel / 2, .use_bias = false}).named(name + "_conv")(x);
}

/// x and `growth` channels more, computed of all of x.
Symbol dense_layer(const Symbol& x, int64_t growth, const std::string& name) {
  Symbol y = conv(norm_relu(x, name + "_1"), 4 * growth, 1, name + "_1");
  y = conv(norm_relu(y, name + "_2"), growth, 3, name + "_2");
  return Concatenate().named(name)({x, y});
}

}  // namespace

Network densenet121(const Shape& image, int64_t classes) {
  constexpr int64_t growth = 32, layers[] = {6, 12, 24, 16};
  Symbol x = conv_norm_relu(Input({image[0], image[1], image[2]}), 64, {.kernel = 7, .stride = 2}, "stem");
  x = stem_pool()(x);
  int64_t channels = 64;
  for (int64_t block = 0; block < 4; ++block) {
    for (int64_t i = 0; i < layers[block]; ++i)
      x = dense_layer(x, growth, fmt::format("block{}_layer{}", block + 1, i + 1));
    channels += growth * layers[block];
    if (block == 3) break;
    const std::string name = fmt::format("transition{}", block + 1);
    channels /= 2;
    x = conv(norm_relu(x, name), channels, 1, name);
    x = AveragePooling2D({2, 2}).named(name + "_pool")(x);
  }
  return classifier("densenet121", norm_relu(x, "final"), classes);
}

}  // namespace lockstep
