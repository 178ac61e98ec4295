// The residual networks of He et al., "Deep residual learning for image recognition", CVPR 2016.
#include <fmt/format.h>

#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

using Block = Symbol(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name);

/// relu(y + shortcut of x), where a shortcut into another shape is projected by a 1x1 convolution.
Symbol residual(const Symbol& y, const Symbol& x, int64_t filters, int64_t stride, bool project,
                const std::string& name) {
  const Symbol shortcut = project ? conv_norm(x, filters, {.stride = stride}, name + "_0") : x;
  return ReLU().named(name + "_relu")(Add().named(name + "_add")({y, shortcut}));
}

Symbol basic_block(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name) {
  Symbol y = conv_norm_relu(x, filters, {.kernel = 3, .stride = stride}, name + "_1");
  y = conv_norm(y, filters, {.kernel = 3}, name + "_2");
  return residual(y, x, filters, stride, project, name);
}

Symbol bottleneck(const Symbol& x, int64_t filters, int64_t stride, bool project, const std::string& name) {
  Symbol y = conv_norm_relu(x, filters, {}, name + "_1");
  y = conv_norm_relu(y, filters, {.kernel = 3, .stride = stride}, name + "_2");
  y = conv_norm(y, 4 * filters, {}, name + "_3");
  return residual(y, x, 4 * filters, stride, project, name);
}

/// Four stages of so many blocks, each but the first at half the size of the one before. A bottleneck's first shortcut
/// is always projected, since it widens.
Network stages(const std::string& name, Symbol x, const std::array<int64_t, 4>& blocks, Block block, int64_t classes) {
  for (size_t stage = 0; stage < 4; ++stage)
    for (int64_t i = 0; i < blocks[stage]; ++i) {
      const int64_t stride = i == 0 && stage > 0 ? 2 : 1;
      const bool project = i == 0 && (stage > 0 || block == bottleneck);
      x = block(x, int64_t{64} << stage, stride, project, fmt::format("stage{}_block{}", stage + 1, i + 1));
    }
  return classifier(name, x, classes);
}

Symbol stem(const Shape& image) {
  const Symbol x = conv_norm_relu(Input({image[0], image[1], image[2]}), 64, {.kernel = 7, .stride = 2}, "stem");
  return stem_pool()(x);
}

}  // namespace

Network resnet18(const Shape& image, int64_t classes) {
  const Symbol x = conv_norm_relu(Input({image[0], image[1], image[2]}), 64, {.kernel = 3}, "stem");
  return stages("resnet18", x, {2, 2, 2, 2}, basic_block, classes);
}

Network resnet34(const Shape& image, int64_t classes) {
  return stages("resnet34", stem(image), {3, 4, 6, 3}, basic_block, classes);
}

Network resnet50(const Shape& image, int64_t classes) {
  return stages("resnet50", stem(image), {3, 4, 6, 3}, bottleneck, classes);
}

Network resnet101(const Shape& image, int64_t classes) {
  return stages("resnet101", stem(image), {3, 4, 23, 3}, bottleneck, classes);
}

}  // namespace lockstep
