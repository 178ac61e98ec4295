// Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014.
#include "layers/zoo/blocks.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

Network alexnet(const Shape& image, int64_t classes) {
  const Activation relu = Activation::relu;
  const MaxPooling2D pool({3, 3}, {.strides = {2, 2}});
  return Sequential(
      "alexnet", Input({image[0], image[1], image[2]}),
      Conv2D(64, {11, 11}, {.strides = {4, 4}, .padding = 2, .activation = relu}), pool,
      Conv2D(192, {5, 5}, {.padding = 2, .activation = relu}), pool,
      Conv2D(384, {3, 3}, {.padding = 1, .activation = relu}), Conv2D(256, {3, 3}, {.padding = 1, .activation = relu}),
      Conv2D(256, {3, 3}, {.padding = 1, .activation = relu}), pool,  //
      Flatten(), Dropout(0.5F), Dense(4096, {.activation = relu}),    //
      Dropout(0.5F), Dense(4096, {.activation = relu}), Dense(classes, {.activation = Activation::softmax}));
}

}  // namespace lockstep
