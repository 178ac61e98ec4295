#include "layers/reshaping/cast.h"

#include "layers/cuda/context.h"
#include "layers/cuda/convert.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// 16 bytes of the narrower type.
template <class From, class To>
inline constexpr int cast_size = std::max(pack_size<From>, pack_size<To>);

/// A thread a pack; the last one takes what is left, element by element.
template <class From, class To>
__global__ void cast_kernel(const From* x, To* y, int64_t n) {
  constexpr int size = cast_size<From, To>;
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * size;
  if (first + size > n) {
    for (int64_t i = first; i < n; ++i) y[i] = from_float<To>(to_float(x[i]));
    return;
  }
  const auto from = *reinterpret_cast<const Pack<From, size>*>(x + first);
  Pack<To, size> to;
#pragma unroll
  for (int i = 0; i < size; ++i) to.v[i] = from_float<To>(to_float(from.v[i]));
  *reinterpret_cast<Pack<To, size>*>(y + first) = to;
}

}  // namespace

void convert(Stream& stream, DType from, const std::byte* in, DType to, std::byte* out, int64_t n) {
  if (n == 0) return;
  with_float(from, [&]<class From>(From) {
    with_float(to, [&]<class To>(To) {
      constexpr int size = cast_size<From, To>;
      launch(stream, {blocks_for((n + size - 1) / size)}, cast_kernel<From, To>, reinterpret_cast<const From*>(in),
             reinterpret_cast<To*>(out), n);
    });
  });
}

Kernel make(const CastOp&, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  return {.run = [n = x.shape.elements(), from = x.dtype, to = y.dtype](Stream& stream, const Args& args) {
    convert(stream, from, args.in[0].data, to, args.out[0].data, n);
  }};
}

}  // namespace lockstep::cuda
