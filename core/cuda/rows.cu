// Rows of bytes: copied by pitch or by number, and added.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "core/cuda/launch.cuh"
#include "core/error.h"

namespace lockstep::cuda {

namespace {

/// A block a row; T is what a thread moves at once.
template <class T>
__global__ void gather_rows(T* to, const T* from, const int32_t* rows, int64_t row_size) {
  const int32_t row = rows[blockIdx.x];
  to += blockIdx.x * row_size;
  from += row * row_size;
  for (int64_t i = threadIdx.x; i < row_size; i += blockDim.x) to[i] = row < 0 ? T{} : from[i];
}

/// A thread an element of a row: `size` of them a row, the pitch in elements.
template <class T>
__global__ void add_pitched(T* to, int64_t to_pitch, const T* from, int64_t size, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  T& sum = to[i / size * to_pitch + i % size];
  sum = static_cast<T>(static_cast<float>(sum) + static_cast<float>(from[i]));
}

template <class T>
int64_t count(size_t bytes) {
  return static_cast<int64_t>(bytes / sizeof(T));
}

}  // namespace

void CudaStream::gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) {
  if (rows.empty()) return;
  const auto start = [&]<class T>(T) {
    launch(*this, {static_cast<unsigned>(rows.size())}, gather_rows<T>, reinterpret_cast<T*>(to),
           reinterpret_cast<const T*>(from), rows.data(), count<T>(row_bytes));
  };
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | row_bytes) % sizeof(float4) == 0)
    start(float4{});
  else
    start(float{});
}

void CudaStream::copy_rows(std::byte* to, size_t to_pitch, const std::byte* from, size_t from_pitch, size_t bytes,
                           size_t rows) {
  constexpr size_t largest_pitch = INT32_MAX;  // of CUDA
  if (bytes == 0 || rows == 0) return;
  if (rows > 1 && std::max(to_pitch, from_pitch) <= largest_pitch)
    return check(cudaMemcpy2DAsync(to, to_pitch, from, from_pitch, bytes, rows, cudaMemcpyDefault, get()),
                 "cudaMemcpy2DAsync");
  for (size_t row = 0; row < rows; ++row) copy(to + row * to_pitch, from + row * from_pitch, bytes);
}

void CudaStream::accumulate_rows(DType dtype, std::byte* to, size_t to_pitch, const std::byte* from, size_t n,
                                 size_t rows) {
  if (n == 0 || rows == 0) return;
  const auto start = [&]<class T>(T) {
    const auto size = static_cast<int64_t>(n), all = size * static_cast<int64_t>(rows);
    launch(*this, {blocks_for(all)}, add_pitched<T>, reinterpret_cast<T*>(to), count<T>(to_pitch),
           reinterpret_cast<const T*>(from), size, all);
  };
  switch (dtype) {
    case DType::f32:
      return start(float{});
    case DType::f16:
      return start(__half{});
    case DType::bf16:
      return start(__nv_bfloat16{});
    default:
      throw Error("{} is not added", name_of(dtype));
  }
}

void CudaStream::zero(std::byte* to, size_t bytes) {
  if (bytes) check(cudaMemsetAsync(to, 0, bytes, get()), "cudaMemsetAsync");
}

}  // namespace lockstep::cuda
