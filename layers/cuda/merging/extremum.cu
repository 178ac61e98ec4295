#include "layers/merging/extremum.h"

#include "layers/cuda/context.h"
#include "layers/cuda/elementwise.cuh"

namespace lockstep::cuda {

namespace {

/// A thread an element. da may be a.
template <class T>
__global__ void extremum_grad_kernel(int64_t n, float sign, const T* a, const T* b, const T* dy, T* da, T* db) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const bool first = sign * to_float(a[i]) >= sign * to_float(b[i]);
  const T gradient = dy[i], zero = from_float<T>(0);
  da[i] = first ? gradient : zero;
  db[i] = first ? zero : gradient;
}

}  // namespace

Kernel make(const ExtremumOp& op, const Signature& signature, const SharedContext&) {
  return elementwise<2>(signature, [sign = sign_of(op.which)] __device__(float a, float b) {
    const float larger = sign * a < sign * b ? b : a;  // NaN where a is
    return b == b ? larger : b;
  });
}

Kernel make(const ExtremumGradOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements(), dtype = signature.in[0].dtype, sign = sign_of(op.which)](
                     Stream& stream, const Args& args) {
    if (n == 0) return;
    with_float(dtype, [&]<class T>(T) {
      launch(stream, {blocks_for(n)}, extremum_grad_kernel<T>, n, sign, args.in[0].as<const T>(),
             args.in[1].as<const T>(), args.in[2].as<const T>(), args.out[0].as<T>(), args.out[1].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
