// What kernels share that reduce rows of classes: a warp a row, or a block where rows are long. Device code.
#pragma once

#include <type_traits>

#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

/// The place of this thread: `Threads` threads of a block of block_threads work on one row.
template <int Threads>
struct RowThread {
  static_assert(Threads == 32 || Threads == block_threads);
  static constexpr int per_block = block_threads / Threads;
  int64_t row = int64_t{blockIdx.x} * per_block + threadIdx.x / Threads;
  int first = static_cast<int>(threadIdx.x % Threads);  // its first element; it takes every Threads-th
};

/// `combine` of the values of all threads of a row, for each of them and in the same order always; `combine` is
/// commutative. All threads of the row call it. `scratch` is shared memory of block_threads / 32 elements.
template <int Threads, class T, class Combine>
__device__ T across_row(T value, T* scratch, Combine combine) {
  for (int offset = 16; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xFFFFFFFFU, value, offset));
  if constexpr (Threads > 32) {
    constexpr int warps = Threads / 32;
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
    __syncthreads();
    value = scratch[threadIdx.x % warps];
    for (int offset = warps / 2; offset > 0; offset /= 2)
      value = combine(value, __shfl_xor_sync(0xFFFFFFFFU, value, offset));
    __syncthreads();
  }
  return value;
}

/// Shared memory of across_row.
struct RowScratch {
  double sums[block_threads / 32];
  float tops[block_threads / 32];
  int places[block_threads / 32];
};

template <int Threads>
__device__ double row_sum(double term, RowScratch& scratch) {
  return across_row<Threads>(term, scratch.sums, [](double a, double b) { return a + b; });
}

/// The largest element that is a number; -inf where there is none.
template <int Threads>
__device__ float row_top(const float* x, int64_t classes, RowScratch& scratch) {
  float top = -INFINITY;
  for (int64_t k = RowThread<Threads>{}.first; k < classes; k += Threads) top = fmaxf(top, x[k]);
  return across_row<Threads>(top, scratch.tops, [](float a, float b) { return fmaxf(a, b); });
}

/// y = exp(x - top) for this thread's elements; returns what softmax multiplies y with, NaN where x holds a NaN.
/// y may be x.
template <int Threads>
__device__ float row_exponentials(const float* x, float* y, int64_t classes, RowScratch& scratch) {
  const float top = row_top<Threads>(x, classes, scratch);
  double sum = 0;
  for (int64_t k = RowThread<Threads>{}.first; k < classes; k += Threads) {
    const float power = expf(x[k] - top);
    y[k] = power;
    sum += double{power};
  }
  return static_cast<float>(1 / row_sum<Threads>(sum, scratch));
}

template <int Threads>
Grid row_grid(int64_t rows) {
  return {blocks_for(rows, RowThread<Threads>::per_block)};
}

/// Calls body(std::integral_constant<int, Threads>) with the threads for rows of this length.
template <class Body>
void with_row_threads(int64_t classes, Body&& body) {
  if (classes <= static_cast<int64_t>(block_threads))
    body(std::integral_constant<int, 32>{});
  else
    body(std::integral_constant<int, static_cast<int>(block_threads)>{});
}

}  // namespace lockstep::cuda
