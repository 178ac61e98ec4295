// The last part of a sum over a lane: one block adds what the others have left, always in the same order. Device code.
#pragma once

#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

/// Blocks that leave a term each, for n numbers: few enough for one block to add them.
inline unsigned total_blocks(int64_t n) { return std::min(blocks_for(n, 4 * block_threads), 1024U); }

/// One block: *total = the sum of the terms / divisor.
static __global__ void total_kernel(const double* terms, int64_t count, int64_t divisor, float* total) {
  __shared__ double scratch[32];
  double sum = 0;
  for (int64_t n = threadIdx.x; n < count; n += blockDim.x) sum += terms[n];
  sum = block_sum(sum, scratch);
  if (threadIdx.x == 0) *total = static_cast<float>(sum / static_cast<double>(divisor));
}

}  // namespace lockstep::cuda
