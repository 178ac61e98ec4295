#include "layers/ops.h"
#include "layers/zoo/zoo.h"

namespace lockstep {

Network seed_cnn(const Shape& image, int64_t classes) {
  const Conv2DOptions block{.padding = Padding::same, .activation = Activation::relu};
  return Sequential("seed_cnn", Input({image[0], image[1], image[2]}),  //
                    Conv2D(32, {3, 3}, block), MaxPooling2D({2, 2}),    //
                    Conv2D(64, {3, 3}, block), MaxPooling2D({2, 2}),    //
                    Conv2D(128, {1, 1}, block), MaxPooling2D({2, 2}),   //
                    Conv2D(classes, {1, 1}), GlobalAveragePooling2D(), Softmax());
}

}  // namespace lockstep
