// What convolution and dense kernels do beside the product itself: weights in the type of the activations, bias and
// relu after it. From the rank's thread.
#pragma once

#include "core/graph/kernel.h"

namespace lockstep::cuda {

/// Lets `kernel` convert its input `weights`, f32 of n elements, to `to` once a step, into its packed memory. Does
/// nothing for f32.
void pack_weights(Kernel& kernel, size_t weights, DType to, int64_t n);
/// Where the weights lie that the product reads.
inline const std::byte* packed_weights(const Args& args, size_t weights, DType type) {
  return type == DType::f32 ? args.in[weights].data : args.packed;
}

/// y[row, c] = y[row, c] + bias[c], then relu where wanted, in place; `bias` may be null. NaN stays NaN.
void add_bias(Stream& stream, DType dtype, std::byte* y, const float* bias, int64_t rows, int64_t channels, bool relu);
/// The same from x, which may be y.
void add_bias(Stream& stream, DType dtype, const std::byte* x, std::byte* y, const float* bias, int64_t rows,
              int64_t channels, bool relu);

}  // namespace lockstep::cuda
