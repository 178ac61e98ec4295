#include "layers/ops.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

Network lenet5(const Shape& image, int64_t classes) {
  const Activation relu = Activation::relu;
  return Sequential("lenet5", Input({image[0], image[1], image[2]}),                                          //
                    Conv2D(6, {5, 5}, {.padding = Padding::same, .activation = relu}), MaxPooling2D({2, 2}),  //
                    Conv2D(16, {5, 5}, {.activation = relu}), MaxPooling2D({2, 2}),                           //
                    Flatten(), Dense(120, {.activation = relu}), Dense(84, {.activation = relu}),
                    Dense(classes, {.activation = Activation::softmax}));
}

}  // namespace lockstep
