// Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", ICLR 2015.
#include <fmt/format.h>

#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

Network vgg16(const Shape& image, int64_t classes) {
  struct Stage {
    int64_t layers, filters;
  };
  constexpr Stage all[] = {{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}};
  Symbol x = Input({image[0], image[1], image[2]});
  int64_t number = 0;
  for (const auto& [layers, filters] : all) {
    ++number;
    for (int64_t i = 0; i < layers; ++i)
      x = Conv2D(filters, {3, 3}, {.padding = 1, .activation = Activation::relu})
              .named(fmt::format("block{}_conv{}", number, i + 1))(x);
    x = MaxPooling2D({2, 2}).named(fmt::format("block{}_pool", number))(x);
  }
  x = Flatten()(x);
  for (int i = 0; i < 2; ++i) x = Dropout(0.5F)(Dense(4096, {.activation = Activation::relu})(x));
  return Network("vgg16", Dense(classes, {.activation = Activation::softmax})(x));
}

}  // namespace lockstep
