#include "core/cuda/launch.cuh"

namespace lockstep::cuda {

namespace {

__global__ void accumulate_vectors(float4* to, const float4* from, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float4 sum = to[i];
  const float4 term = from[i];
  sum.x += term.x;
  sum.y += term.y;
  sum.z += term.z;
  sum.w += term.w;
  to[i] = sum;
}

__global__ void accumulate_floats(float* to, const float* from, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) to[i] += from[i];
}

}  // namespace

void CudaStream::accumulate(float* to, const float* from, size_t n) {
  const bool vectors = (reinterpret_cast<uintptr_t>(to) | reinterpret_cast<uintptr_t>(from)) % sizeof(float4) == 0;
  const auto whole = vectors ? static_cast<int64_t>(n / 4) : 0;
  const auto rest = static_cast<int64_t>(n) - 4 * whole;
  if (whole > 0)
    launch(*this, {blocks_for(whole)}, accumulate_vectors, reinterpret_cast<float4*>(to),
           reinterpret_cast<const float4*>(from), whole);
  if (rest > 0) launch(*this, {blocks_for(rest)}, accumulate_floats, to + 4 * whole, from + 4 * whole, rest);
}

}  // namespace lockstep::cuda
