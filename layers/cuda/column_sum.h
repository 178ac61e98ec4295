// Sums over the rows of a matrix, channel by channel: gradients of biases. From the rank's thread.
#pragma once

#include "core/dtype.h"
#include "core/stream.h"

namespace lockstep::cuda {

/// Bytes of `workspace` that column_sum needs.
size_t column_sum_workspace(int64_t rows, int64_t channels);

/// out[c] = the sum over rows of `matrix` [rows, channels], which has a floating-point type and starts at a multiple of
/// 16 bytes, as `workspace` does. The order of the sum depends on the shape and the type alone. 0 where there are no
/// rows.
void column_sum(Stream& stream, DType dtype, const std::byte* matrix, int64_t rows, int64_t channels, float* out,
                std::byte* workspace);

}  // namespace lockstep::cuda
