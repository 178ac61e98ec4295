// Kernels that compute each output element from the input elements at its place.
#pragma once

#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

/// The first `Inputs` inputs, which have the output's type.
template <int Inputs>
struct Sources {
  const void* at[Inputs];
};

template <class T, int Inputs, class Function>
__device__ T computed(const Sources<Inputs>& in, int64_t i, Function function) {
  if constexpr (Inputs == 1)
    return from_float<T>(function(to_float(static_cast<const T*>(in.at[0])[i])));
  else
    return from_float<T>(
        function(to_float(static_cast<const T*>(in.at[0])[i]), to_float(static_cast<const T*>(in.at[1])[i])));
}

/// A thread a pack; the last one takes what is left, element by element.
template <class T, int Inputs, class Function>
__global__ void elementwise_kernel(Sources<Inputs> in, T* out, int64_t n, Function function) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * pack_size<T>;
  if (first + pack_size<T> > n) {
    for (int64_t i = first; i < n; ++i) out[i] = computed<T>(in, i, function);
    return;
  }
  Pack<T> from[Inputs], to;
  for (int k = 0; k < Inputs; ++k)
    from[k] = *reinterpret_cast<const Pack<T>*>(static_cast<const T*>(in.at[k]) + first);
  for (int i = 0; i < pack_size<T>; ++i) {
    if constexpr (Inputs == 1)
      to.v[i] = from_float<T>(function(to_float(from[0].v[i])));
    else
      to.v[i] = from_float<T>(function(to_float(from[0].v[i]), to_float(from[1].v[i])));
  }
  *reinterpret_cast<Pack<T>*>(out + first) = to;
}

/// out[0] = function(in[0], …), computed in 32 bits. The output may lie on the first input.
template <int Inputs, class Function>
Kernel elementwise(const Signature& signature, Function function) {
  static_assert(Inputs == 1 || Inputs == 2);
  return {.run = [n = signature.out[0].shape.elements(), dtype = signature.out[0].dtype, function](Stream& stream,
                                                                                                   const Args& args) {
    if (n == 0) return;
    with_float(dtype, [&]<class T>(T) {
      Sources<Inputs> in{};
      for (int k = 0; k < Inputs; ++k) in.at[k] = args.in[static_cast<size_t>(k)].data;
      launch(stream, {blocks_for((n + pack_size<T> - 1) / pack_size<T>)}, elementwise_kernel<T, Inputs, Function>, in,
             args.out[0].as<T>(), n, function);
    });
  }};
}

}  // namespace lockstep::cuda
