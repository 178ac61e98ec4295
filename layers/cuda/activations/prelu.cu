#include "layers/activations/prelu.h"

#include "layers/cuda/context.h"
#include "layers/cuda/term_sums.cuh"

namespace lockstep::cuda {

namespace {

/// A thread an element of x, whose rows are as wide as alpha.
template <class T>
__global__ void prelu_kernel(int64_t n, int64_t width, const T* x, const float* alpha, T* y) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float value = to_float(x[i]);
  y[i] = from_float<T>(value > 0 ? value : alpha[i % width] * value);
}

/// Of dalpha: x dy where x <= 0. Stores dx on the way.
template <class T, int Size>
struct SlopeTerms {
  int64_t width;
  const T *x, *dy;
  const float* alpha;
  T* dx;

  __device__ void operator()(int64_t row, int c, float (&term)[1][Size]) const {
    const int64_t at = row * width + c;
    const auto a = load_pack<T, Size>(x + at), b = load_pack<T, Size>(dy + at);
    float back[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      const float value = element(a, k), g = element(b, k);
      back[k] = value > 0 ? g : alpha[c + k] * g;
      term[0][k] = value > 0 ? 0.0F : value * g;
    }
    store_pack<T, Size>(dx + at, back);
  }
};

}  // namespace

Kernel make(const PreluOp&, const Signature& signature, const SharedContext&) {
  return {.run = [x = signature.in[0], width = signature.in[1].shape.elements()](Stream& stream, const Args& args) {
    const int64_t n = x.shape.elements();
    if (n == 0) return;
    with_float(x.dtype, [&]<class T>(T) {
      launch(stream, {blocks_for(n)}, prelu_kernel<T>, n, width, args.in[0].as<const T>(), args.in[1].as(),
             args.out[0].as<T>());
    });
  }};
}

Kernel make(const PreluGradOp&, const Signature& signature, const SharedContext&) {
  const int64_t width = signature.in[1].shape.elements();
  const int64_t rows = width > 0 ? signature.in[0].shape.elements() / width : 0;
  return {.workspace = term_sums_workspace(rows, width, 1),
          .run = [rows, width, dtype = signature.in[0].dtype](Stream& stream, const Args& args) {
            if (width == 0) return;
            with_packs(dtype, width, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
              const SlopeTerms<T, Size> terms{width, args.in[0].as<const T>(), args.in[2].as<const T>(),
                                              args.in[1].as(), args.out[0].as<T>()};
              term_sums<Size, 1>(stream, rows, width, terms, args.workspace, args.out[1].as());
            });
          }};
}

}  // namespace lockstep::cuda
