// Convolutions with 3x3 kernels by Winograd's F(2x2, 3x3), which needs 2.25 times fewer multiplications than the sums
// themselves: on tiles of 2x2 pixels of the output, 16 products of matrices [tiles, channels] x [channels, filters].
// Kernels belong to one thread; their bits depend on the shapes alone, not on the number of compute threads.
#pragma once

#include "core/kernel.h"
#include "layers/conv2d.h"

namespace lockstep::cpu {

/// Whether the convolution of an image `x` [N,H,W,C] into `y` [N,P,Q,K], and its gradients, can be computed so and gain
/// by it: 3x3, dense, stride 1, with channels and filters in panels of 16.
bool suits_winograd(const Conv2dAttributes& conv, const Shape& x, const Shape& y);

/// As Conv2dOp, Conv2dDataGradOp and Conv2dWeightGradOp define them. A NaN or infinity reaches all of the tile that it
/// is in.
Kernel winograd_forward(const Conv2dAttributes& conv, const Shape& x, const Shape& y, bool bias, bool relu);
Kernel winograd_data_grad(const Conv2dAttributes& conv, const Shape& x, const Shape& y);
Kernel winograd_weight_grad(const Conv2dAttributes& conv, const Shape& x, const Shape& y, bool bias);

}  // namespace lockstep::cpu
