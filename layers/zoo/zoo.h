// The models that come with Lockstep, by name. Pure functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "layers/network.h"

namespace lockstep {

/// The baseline CNN: three convolution-ReLU-pool blocks (32 3x3, 64 3x3, 128 1x1), a 1x1 convolution to the classes,
/// global average pooling, softmax. `image` is [H, W, C].
Network seed_cnn(const Shape& image, int64_t classes);
/// LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998) in its modern form: ReLU
/// and max pooling.
Network lenet5(const Shape& image, int64_t classes);
/// ResNet-18 (He et al., "Deep residual learning for image recognition", 2016) with the 3x3 stem used for CIFAR:
/// 11,173,962 parameters for 10 classes.
Network resnet18(const Shape& image, int64_t classes);
/// ResNet-50 v1.5: a bottleneck's stride is in its 3x3 convolution, as in PyTorch's; 25,557,032 parameters for RGB
/// images and 1000 classes. Padding is Keras' `same`, whose odd pixel goes after: where the stride is 2, windows lie
/// one pixel further down and right than with PyTorch's symmetric padding, and all shapes are the same. The 7x7 stem
/// and its pool stay for images of every size: below 64 pixels a side little is left of them, and resnet18 is the
/// better choice.
Network resnet50(const Shape& image, int64_t classes);

std::vector<std::string> zoo_names();
/// Throws InputError with the nearest name.
Network zoo_model(const std::string& name, const Shape& image, int64_t classes);

}  // namespace lockstep
