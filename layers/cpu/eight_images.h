// Convolutions of eight images at a time: a vector holds one value of each, so that it is full however few channels and
// filters there are. Kernels belong to one thread; their bits depend on the shapes alone, not on the number of compute
// threads.
#pragma once

#include "core/kernel.h"
#include "layers/conv2d.h"

namespace lockstep::cpu {

/// Whether so many images are convolved so: dense, in one group, with more than a pixel's kernel, images enough to fill
/// the vectors, and filters too few for vectors of them. A data gradient's filters are the channels of x.
bool suits_eight_images(const Conv2dAttributes& conv, int64_t images, int64_t filters);

/// As Conv2dOp, Conv2dDataGradOp (for stride 1) and Conv2dWeightGradOp define them; `x` and `y` are the forward ones.
Kernel eight_images_forward(const Conv2dAttributes& conv, const Shape& x, const Shape& y, bool bias, bool relu);
Kernel eight_images_data_grad(const Conv2dAttributes& conv, const Shape& x, const Shape& y);
Kernel eight_images_weight_grad(const Conv2dAttributes& conv, const Shape& x, const Shape& y, bool bias);

}  // namespace lockstep::cpu
