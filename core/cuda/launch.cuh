// How kernels are started: with their own parameter types and a checked status. From the rank's thread.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>

#include "core/cuda/check.h"
#include "core/cuda/streams.h"

namespace lockstep::cuda {

/// Threads of a block, where a kernel has no reason for another number.
inline constexpr unsigned block_threads = 256;

/// Blocks of `threads` for n pieces of work, a thread each; at least 1.
inline unsigned blocks_for(int64_t n, unsigned threads = block_threads) {
  return static_cast<unsigned>(std::clamp<int64_t>((n + threads - 1) / threads, 1, INT32_MAX));
}

struct Grid {
  dim3 blocks;
  dim3 threads = block_threads;
};

/// Enqueues kernel(arguments…).
template <class... Parameters, class... Arguments>
void launch(Stream& stream, const Grid& grid, void (*kernel)(Parameters...), Arguments... arguments) {
  cudaLaunchConfig_t config{};
  config.gridDim = grid.blocks;
  config.blockDim = grid.threads;
  config.stream = native(stream);
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), "cudaLaunchKernelEx");
}

}  // namespace lockstep::cuda
