// Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks", ICML 2019.
#include <fmt/format.h>

#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol conv_norm_silu(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name) {
  return SiLU().named(name + "_silu")(conv_norm(x, filters, options, name));
}

/// Each channel times a factor that is computed of all channels' means (Hu et al., "Squeeze-and-excitation networks",
/// CVPR 2018).
Symbol squeeze_excite(const Symbol& x, int64_t channels, int64_t squeezed, const std::string& name) {
  Symbol y = Reshape({1, 1, channels}).named(name + "_reshape")(GlobalAveragePooling2D().named(name + "_pool")(x));
  y = Conv2D(squeezed, {1, 1}, {.activation = Activation::silu}).named(name + "_squeeze")(y);
  y = Conv2D(channels, {1, 1}, {.activation = Activation::sigmoid}).named(name + "_excite")(y);
  return Multiply().named(name)({x, y});
}

struct Stage {
  int64_t expand, kernel, stride, filters, blocks;
};

Symbol mobile_block(const Symbol& x, int64_t inputs, const Stage& s, int64_t stride, const std::string& name) {
  const int64_t channels = inputs * s.expand;
  Symbol y = x;
  if (s.expand > 1) y = conv_norm_silu(y, channels, {}, name + "_expand");
  y = conv_norm_silu(y, 0, {.kernel = s.kernel, .stride = stride, .depthwise = true}, name + "_depthwise");
  y = squeeze_excite(y, channels, inputs / 4, name + "_se");
  y = conv_norm(y, s.filters, {}, name + "_project");
  return stride == 1 && inputs == s.filters ? Add().named(name + "_add")({x, y}) : y;
}

}  // namespace

Network efficientnet_b0(const Shape& image, int64_t classes) {
  constexpr Stage all[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                           {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
  int64_t channels = 32, number = 0;
  Symbol x = conv_norm_silu(Input({image[0], image[1], image[2]}), channels, {.kernel = 3, .stride = 2}, "stem");
  for (const Stage& stage : all) {
    ++number;
    for (int64_t i = 0; i < stage.blocks; ++i) {
      x = mobile_block(x, channels, stage, i == 0 ? stage.stride : 1, fmt::format("stage{}_block{}", number, i + 1));
      channels = stage.filters;
    }
  }
  return classifier("efficientnet_b0", conv_norm_silu(x, 1280, {}, "head"), classes, 0.2F);
}

}  // namespace lockstep
