// Sandler et al., "MobileNetV2: Inverted residuals and linear bottlenecks", CVPR 2018.
#include <fmt/format.h>

#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol conv_norm_relu6(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name) {
  return ReLU({.max_value = 6}).named(name + "_relu")(conv_norm(x, filters, options, name));
}

/// Widens `inputs` channels `expand` times, filters each channel, and narrows to `filters`, without a relu after it.
Symbol inverted_residual(const Symbol& x, int64_t inputs, int64_t filters, int64_t expand, int64_t stride,
                         const std::string& name) {
  Symbol y = x;
  if (expand > 1) y = conv_norm_relu6(y, inputs * expand, {}, name + "_expand");
  y = conv_norm_relu6(y, 0, {.kernel = 3, .stride = stride, .depthwise = true}, name + "_depthwise");
  y = conv_norm(y, filters, {}, name + "_project");
  return stride == 1 && inputs == filters ? Add().named(name + "_add")({x, y}) : y;
}

}  // namespace

Network mobilenet_v2(const Shape& image, int64_t classes) {
  struct Stage {
    int64_t expand, filters, blocks, stride;
  };
  constexpr Stage all[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                           {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
  int64_t channels = 32, number = 0;
  Symbol x = conv_norm_relu6(Input({image[0], image[1], image[2]}), channels, {.kernel = 3, .stride = 2}, "stem");
  for (const auto& [expand, filters, blocks, stride] : all)
    for (int64_t i = 0; i < blocks; ++i) {
      x = inverted_residual(x, channels, filters, expand, i == 0 ? stride : 1, fmt::format("block{}", ++number));
      channels = filters;
    }
  return classifier("mobilenet_v2", conv_norm_relu6(x, 1280, {}, "head"), classes, 0.2F);
}

}  // namespace lockstep
