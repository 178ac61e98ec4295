// The models that come with Lockstep, by name. Pure functions: any thread.
#pragma once

#include <string>
#include <vector>

#include "layers/network/network.h"

namespace lockstep {

/// The baseline CNN: three convolution-ReLU-pool blocks (32 3x3, 64 3x3, 128 1x1), a 1x1 convolution to the classes,
/// global average pooling, softmax. `image` is [H, W, C].
Network seed_cnn(const Shape& image, int64_t classes);
/// LeNet-5 (LeCun et al., "Gradient-based learning applied to document recognition", 1998) in its modern form: ReLU
/// and max pooling.
Network lenet5(const Shape& image, int64_t classes);

// Published networks. Strided windows are padded alike on both sides, as PyTorch does, so that weights trained there
// give the same outputs. Numbers of parameters are torchvision's, for RGB images and 1000 classes, and equal to Keras'
// where it has the network. All but resnet18 halve the size five times and are meant for images of about 224 pixels a
// side; where an image is too small, the layer that finds it so says it.

/// ResNet-18 (He et al., "Deep residual learning for image recognition", 2016) with the 3x3 stem used for CIFAR, for
/// small images: 11,173,962 parameters for 10 classes.
Network resnet18(const Shape& image, int64_t classes);
/// ResNet-34: 21,797,672.
Network resnet34(const Shape& image, int64_t classes);
/// ResNet-50 v1.5, as are all with bottlenecks: the stride is in the 3x3 convolution, as in PyTorch's; 25,557,032.
Network resnet50(const Shape& image, int64_t classes);
/// ResNet-101: 44,549,160.
Network resnet101(const Shape& image, int64_t classes);
/// AlexNet with one tower (Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014):
/// 61,100,840. Flattening lies rows, columns, channels; PyTorch's first dense weights lie channels first.
Network alexnet(const Shape& image, int64_t classes);
/// VGG-16 without batch norm (Simonyan and Zisserman, 2015): 138,357,544. Its first dense weights lie as alexnet's.
Network vgg16(const Shape& image, int64_t classes);
/// GoogLeNet with batch norm and without auxiliary classifiers (Szegedy et al., "Going deeper with convolutions",
/// 2015): 6,624,904.
Network googlenet(const Shape& image, int64_t classes);
/// DenseNet-121 (Huang et al., "Densely connected convolutional networks", 2017): 7,978,856.
Network densenet121(const Shape& image, int64_t classes);
/// MobileNetV2 (Sandler et al., 2018): 3,504,872.
Network mobilenet_v2(const Shape& image, int64_t classes);
/// EfficientNet-B0 (Tan and Le, 2019): 5,288,548. Blocks are not dropped at random in training.
Network efficientnet_b0(const Shape& image, int64_t classes);
/// U-Net (Ronneberger et al., "U-Net: Convolutional networks for biomedical image segmentation", 2015), with padded
/// convolutions, so that each pixel of the image gets its classes [H,W,classes]: 31,030,593 for grey images and one
/// class. Throws InputError where a side is not a multiple of 16.
Network unet(const Shape& image, int64_t classes);

/// In alphabetical order.
std::vector<std::string> zoo_names();
/// Throws InputError with the nearest name.
Network zoo_model(const std::string& name, const Shape& image, int64_t classes);

}  // namespace lockstep
