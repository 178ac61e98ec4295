// The weights' gradient of convolutions over images of few channels, such as a network's first one: there the
// libraries' kernels fill a small part of their vectors. Kernels belong to one thread; their bits depend on the shapes
// alone, not on the number of compute threads.
#pragma once

#include "core/kernel.h"
#include "layers/conv2d.h"

namespace lockstep::cpu {

/// Whether the gradient for an image `x` [N,H,W,C] and filters `w` [K,R,S,C] can be computed so: dense, in one group,
/// with few channels and filters in panels of 16.
bool suits_few_channels(const Conv2dAttributes& conv, const Shape& x, const Shape& w);

/// As Conv2dWeightGradOp defines it.
Kernel few_channels_weight_grad(const Conv2dAttributes& conv, const Shape& x, const Shape& y, bool bias);

}  // namespace lockstep::cpu
