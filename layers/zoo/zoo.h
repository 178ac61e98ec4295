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

std::vector<std::string> zoo_names();
/// Throws InputError with the nearest name.
Network zoo_model(const std::string& name, const Shape& image, int64_t classes);

}  // namespace lockstep
