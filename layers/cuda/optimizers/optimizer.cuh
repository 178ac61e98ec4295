// What kernels share that compute over flat ranges of parameters. A range may be cut anywhere, so that neither its
// length nor its alignment is given. Device code.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "core/step_state.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

/// Elements first … first + Size - 1 of n; zeros beyond the end.
template <int Size>
__device__ Pack<float, Size> load_pack(const float* from, int64_t first, int64_t n) {
  if (first + Size <= n) return *reinterpret_cast<const Pack<float, Size>*>(from + first);
  Pack<float, Size> pack{};
#pragma unroll
  for (int i = 0; i < Size; ++i)
    if (first + i < n) pack.v[i] = from[first + i];
  return pack;
}

template <int Size>
__device__ void store_pack(float* to, const Pack<float, Size>& pack, int64_t first, int64_t n) {
  if (first + Size <= n) {
    *reinterpret_cast<Pack<float, Size>*>(to + first) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < Size; ++i)
    if (first + i < n) to[first + i] = pack.v[i];
}

/// The first element of this thread's pack.
template <int Size>
__device__ int64_t first_of_pack() {
  return (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * Size;
}

/// Calls body(std::integral_constant<int, Size>) with the elements a thread: 4 where all arrays are aligned to 16
/// bytes, else 1.
template <class Body>
void with_pack_size(std::initializer_list<const void*> arrays, Body&& body) {
  uintptr_t bits = 0;
  for (const void* array : arrays) bits |= reinterpret_cast<uintptr_t>(array);
  if (bits % 16 == 0)
    body(std::integral_constant<int, 4>{});
  else
    body(std::integral_constant<int, 1>{});
}

/// What an update reads of the step. The last two are null where gradients are not scaled.
struct StepInputs {
  const StepState* state = nullptr;
  const float* loss_scale = nullptr;
  const float* finite = nullptr;

  /// From an operator's inputs, the scaling after all others.
  StepInputs(const Args& args, bool scaled) : state(args.in[2].as<StepState>()) {
    if (!scaled) return;
    loss_scale = args.in[args.in.size() - 2].as();
    finite = args.in[args.in.size() - 1].as();
  }

  /// Whether parameters stay as they are.
  __device__ bool skipped() const { return finite && !(*finite > 0); }
  /// What makes a mean of a sum.
  __device__ float divisor() const {
    const auto samples = static_cast<float>(state->samples);
    return loss_scale ? samples * *loss_scale : samples;
  }
};

}  // namespace lockstep::cuda
