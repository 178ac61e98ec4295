// What CUDA kernels share: element types, 16-byte packs, and sums over a block. Device code.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/cuda/launch.cuh"
#include "core/error.h"
#include "core/graph/kernel.h"

namespace lockstep::cuda {

using half_t = __half;
using bfloat_t = __nv_bfloat16;

/// Kernels compute in 32 bits and store in T, rounding to nearest even.
__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(half_t x) { return __half2float(x); }
__device__ inline float to_float(bfloat_t x) { return __bfloat162float(x); }

template <class T>
__device__ inline T from_float(float x);
template <>
__device__ inline float from_float<float>(float x) {
  return x;
}
template <>
__device__ inline half_t from_float<half_t>(float x) {
  return __float2half_rn(x);
}
template <>
__device__ inline bfloat_t from_float<bfloat_t>(float x) {
  return __float2bfloat16_rn(x);
}

/// max(x, 0); NaN stays NaN, which fmaxf would lose.
__device__ inline float relu(float x) { return x < 0 ? 0.0F : x; }

/// min(max(x, 0), top).
__device__ inline float relu(float x, float top) {
  const float low = relu(x);
  return top < low ? top : low;
}

/// `Size` elements that are loaded and stored as one; 16 bytes unless the shape does not allow it.
template <class T, int Size = 16 / static_cast<int>(sizeof(T))>
struct alignas(sizeof(T) * Size) Pack {
  static constexpr int size = Size;
  T v[Size];
};
template <class T>
inline constexpr int pack_size = 16 / static_cast<int>(sizeof(T));

/// Calls body(T{}) with the type that stores `dtype`: float, half_t or bfloat_t.
template <class Body>
void with_float(DType dtype, Body&& body) {
  switch (dtype) {
    case DType::f32:
      return body(float{});
    case DType::f16:
      return body(half_t{});
    case DType::bf16:
      return body(bfloat_t{});
    default:
      throw Error("{} is no floating-point type", name_of(dtype));
  }
}

/// The sum of `value` over a block of at most 1024 threads (a multiple of 32), for thread 0. Always in the same order.
/// All threads call it; `scratch` is shared memory of 32 elements that nobody else uses meanwhile.
template <class T>
__device__ inline T block_sum(T value, T* scratch) {
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xFFFFFFFFU, value, offset);
  const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  if (lane == 0) scratch[warp] = value;
  __syncthreads();
  if (warp == 0) {
    value = lane < blockDim.x / 32 ? scratch[lane] : T{};
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(0xFFFFFFFFU, value, offset);
  }
  __syncthreads();
  return value;
}

}  // namespace lockstep::cuda
