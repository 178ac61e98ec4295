// What the zoo's networks are built of. Convolutions and pools pad as PyTorch does, the same pixels on all sides, so
// that weights trained there give the same outputs here. Pure functions: any thread.
#pragma once

#include "layers/network/network.h"
#include "layers/ops.h"

namespace lockstep {

struct ConvNorm {
  int64_t kernel = 1, stride = 1;
  bool depthwise = false;  // a filter a channel; the number of filters is not used
  float epsilon = 1e-5F;
};

/// "<name>_conv", without bias and padded by half its kernel, and "<name>_norm".
Symbol conv_norm(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name);
/// The same and "<name>_relu".
Symbol conv_norm_relu(const Symbol& x, int64_t filters, const ConvNorm& options, const std::string& name);
/// A pool of the largest of 3x3 pixels with stride 2, padded by one.
MaxPooling2D stem_pool();
/// Global average pooling, dropout where the rate is not 0, and the dense layer with softmax.
Network classifier(const std::string& name, const Symbol& x, int64_t classes, float dropout = 0);

}  // namespace lockstep
