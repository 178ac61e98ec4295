#include "layers/reshaping/zero_padding.h"

#include "layers/cuda/context.h"
#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

namespace {

/// A thread a pack of channels of one pixel of y.
template <class T, int Size>
__global__ void pad_kernel(Pooling s, int top, int left, const T* x, T* y) {
  each_pixel<Size>(s, s.height.outputs, s.width.outputs, [&](int image, int p, int q, int c) {
    const int row = p - top, column = q - left;
    const bool inside = row >= 0 && row < s.height.length && column >= 0 && column < s.width.length;
    Pack<T, Size> value;
    if (inside) {
      value = load_pack<T, Size>(x + place_in_x(s, image, row, column, c));
    } else {
#pragma unroll
      for (int k = 0; k < Size; ++k) value.v[k] = from_float<T>(0.0F);
    }
    *reinterpret_cast<Pack<T, Size>*>(y + place_in_y(s, image, p, q, c)) = value;
  });
}

}  // namespace

Kernel make(const PadOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  const Pooling s = pooling({}, x.shape, y.shape, x.dtype);
  const auto top = static_cast<int>(op.before[0]), left = static_cast<int>(op.before[1]);
  return {.run = [=](Stream& stream, const Args& args) {
    if (y.shape.elements() == 0) return;
    with_packs(y.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(y.shape[2] * s.packs, y.shape[1], y.shape[0]), pad_kernel<T, Size>, s, top, left,
             args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
