// The ways to compute a convolution and its gradients on the CPU. Kernels belong to one thread; their bits depend on
// the shapes alone, not on the number of compute threads.
#pragma once

#include <span>
#include <string_view>

#include "core/graph/kernel.h"
#include "layers/linear/conv2d.h"

namespace lockstep::cpu {

/// A convolution of x [N,H,W,C] with w [K,R,S,C/groups] into y [N,P,Q,K], or one of its gradients, as Conv2dOp,
/// Conv2dDataGradOp and Conv2dWeightGradOp define them. The shapes are the forward ones in every pass.
struct Convolution {
  enum class Pass : unsigned char { forward, data_grad, weight_grad };
  Pass pass;
  Conv2dAttributes conv;
  Shape x, w, y;
  bool bias = false;  // of the forward pass and of the weights' gradient
  bool relu = false;  // of the forward pass
};

struct ConvolutionEngine {
  std::string_view name;
  /// Whether the engine can compute it, and gains by it.
  bool (*suits)(const Convolution& convolution);
  Kernel (*make)(const Convolution& convolution);
};

/// All, in the order in which they are asked; the last one suits every convolution.
std::span<const ConvolutionEngine> convolution_engines();

/// Weights' gradients of depthwise convolutions for which oneDNN 2.6 has only its general kernel, ten times slower and
/// more: windows other than 3x3 without dilation.
bool suits_depthwise(const Convolution& convolution);
Kernel depthwise(const Convolution& convolution);

/// 3x3, dense, stride 1, with channels and filters in panels of 16: Winograd's F(2x2, 3x3), which needs 2.25 times
/// fewer multiplications than the sums themselves: on tiles of 2x2 pixels of the output, 16 products of matrices
/// [tiles, channels] x [channels, filters]. A NaN or infinity reaches all of the tile that it is in.
bool suits_winograd(const Convolution& convolution);
Kernel winograd(const Convolution& convolution);

/// Eight images at a time: a vector holds one value of each, so that it is full however few channels and filters there
/// are. Dense, in one group, with more than a pixel's kernel, images enough to fill the vectors, and filters too few
/// for vectors of them (of a data gradient, whose stride must be 1: channels of x).
bool suits_eight_images(const Convolution& convolution);
Kernel eight_images(const Convolution& convolution);

/// Weights' gradients over images of few channels, such as a network's first ones, where the library's kernels fill a
/// small part of their vectors: dense, in one group, with filters in panels of 16.
bool suits_few_channels(const Convolution& convolution);
Kernel few_channels(const Convolution& convolution);

/// Weights' gradients of one pixel's kernel with strides: the library's, over pixels that are taken together before it.
/// oneDNN 2.6 takes them into memory of which it then reads more than it wrote, where channels are few.
bool suits_taken_pixels(const Convolution& convolution);
Kernel taken_pixels(const Convolution& convolution);

/// oneDNN: every convolution.
Kernel library_convolution(const Convolution& convolution);

}  // namespace lockstep::cpu
