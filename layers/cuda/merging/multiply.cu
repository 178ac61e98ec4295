#include "layers/merging/multiply.h"

#include "layers/cuda/activations/gate.cuh"
#include "layers/cuda/context.h"
#include "layers/cuda/elementwise.cuh"

namespace lockstep::cuda {

namespace {

/// out[image, c] = the sum over the image's pixels, which are one part of the rows, of x * dy.
template <class T, int Size>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    gate_grad_kernel(Columns s, const T* x, const T* dy, T* out) {
  const Place at(s, blockIdx.x, s.rows);
  const int64_t first = at.first<Size>(s);
  float sums[1][Size] = {};
  for (int row = at.row; row < at.end; row += s.height) {
    const int64_t place = first + int64_t{row} * s.channels;
    const Pack<T, Size> a = load_pack<T, Size>(x + place), b = load_pack<T, Size>(dy + place);
#pragma unroll
    for (int k = 0; k < Size; ++k) sums[0][k] += element(a, k) * element(b, k);
  }
  sum_rows<Size, 1>(s, at.row, sums);
  if (at.holds_sums()) store_pack<T, Size>(out + at.result<Size>(s, 1), sums[0]);
}

}  // namespace

Kernel make(const MultiplyOp& op, const Signature& signature, const SharedContext&) {
  if (!op.gated) return elementwise<2>(signature, [] __device__(float a, float b) { return a * b; });
  return {.run = [x = signature.in[0]](Stream& stream, const Args& args) {
    gate(stream, x, args.in[0].data, args.in[1].data, args.out[0].data);
  }};
}

Kernel make(const GateGradOp&, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const int64_t pixels = x.shape[1] * x.shape[2];
  const Columns s = Columns::of_parts(x.shape[0] * pixels, x.shape[3], columns_pack(x.dtype, x.shape[3]), pixels);
  return {.run = [s, dtype = x.dtype](Stream& stream, const Args& args) {
    if (s.empty()) return;
    with_packs(dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, s.grid(), gate_grad_kernel<T, Size>, s, args.in[0].as<const T>(), args.in[1].as<const T>(),
             args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
