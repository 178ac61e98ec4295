// Gradients of depthwise convolutions that oneDNN has no fast kernel for. For kernels, from the rank's thread.
#pragma once

#include "core/kernel.h"
#include "layers/conv2d.h"

namespace lockstep::cpu {

/// Whether the kernel below is the faster one. One filter a channel; oneDNN 2.6 computes 3x3 without dilation at the
/// speed of memory, and every other window by its general kernel, ten times slower and more.
bool own_weight_grad(const Conv2dWeightGradOp& op, const Signature& signature);
Kernel depthwise_weight_grad(const Conv2dWeightGradOp& op, const Signature& signature);

}  // namespace lockstep::cpu
