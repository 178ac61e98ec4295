#include "core/cuda/launch.cuh"

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

}  // namespace

void CudaStream::gather(std::byte* to, const std::byte* from, std::span<const int32_t> rows, size_t row_bytes) {
  if (rows.empty()) return;
  const auto start = [&]<class T>(T) {
    launch(*this, {static_cast<unsigned>(rows.size())}, gather_rows<T>, reinterpret_cast<T*>(to),
           reinterpret_cast<const T*>(from), rows.data(), static_cast<int64_t>(row_bytes / sizeof(T)));
  };
  if ((reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from) | row_bytes) % sizeof(float4) == 0)
    start(float4{});
  else
    start(float{});
}

}  // namespace lockstep::cuda
