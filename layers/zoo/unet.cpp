// Ronneberger et al., "U-Net: Convolutional networks for biomedical image segmentation", MICCAI 2015.
#include <fmt/format.h>

#include "core/error.h"
#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

namespace {

Symbol two_convs(Symbol x, int64_t filters, const std::string& name) {
  for (int i = 1; i <= 2; ++i)
    x = Conv2D(filters, {3, 3}, {.padding = 1, .activation = Activation::relu})
            .named(fmt::format("{}_conv{}", name, i))(x);
  return x;
}

}  // namespace

Network unet(const Shape& image, int64_t classes) {
  constexpr int64_t levels = 4;
  if (image[0] % (1 << levels) != 0 || image[1] % (1 << levels) != 0)
    throw InputError("unet takes images whose sides are multiples of {}, got {}", 1 << levels, image.str());
  std::vector<Symbol> skipped;
  Symbol x = Input({image[0], image[1], image[2]});
  for (int64_t level = 0; level < levels; ++level) {
    const std::string name = fmt::format("down{}", level + 1);
    skipped.push_back(two_convs(x, int64_t{64} << level, name));
    x = MaxPooling2D({2, 2}).named(name + "_pool")(skipped.back());
  }
  x = two_convs(x, int64_t{64} << levels, "bottom");
  for (int64_t level = levels; level-- > 0;) {
    const std::string name = fmt::format("up{}", level + 1);
    const int64_t filters = int64_t{64} << level;
    x = Conv2DTranspose(filters, {2, 2}, {.strides = {2, 2}}).named(name + "_transpose")(x);
    x = two_convs(Concatenate().named(name)({skipped[static_cast<size_t>(level)], x}), filters, name);
  }
  return Network("unet", Conv2D(classes, {1, 1}, {.activation = Activation::softmax}).named("classes")(x));
}

}  // namespace lockstep
