// Images times one factor a channel. Device code.
#pragma once

#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

/// y = x * by, where `by` [images, channels] stands for every pixel; x and y [images, pixels, channels] may be one.
template <class T, int Size, class Factor>
__global__ void gate_kernel(Pooling s, int pixels, const T* x, const Factor* by, T* y) {
  each_pixel<Size>(s, 1, pixels, [&](int image, int, int pixel, int c) {
    const int64_t at = (int64_t{image} * pixels + pixel) * s.channels + c;
    const Pack<T, Size> in = load_pack<T, Size>(x + at);
    const Pack<Factor, Size> factors = load_pack<Factor, Size>(by + int64_t{image} * s.channels + c);
    float out[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) out[k] = element(in, k) * element(factors, k);
    store_pack<T, Size>(y + at, out);
  });
}

/// Enqueues it for x [N,H,W,C]; `Factor` is the factors' type, void for that of x.
template <class Factor = void>
void gate(Stream& stream, const Type& x, const std::byte* from, const std::byte* by, std::byte* to) {
  if (x.shape.elements() == 0) return;
  const Shape row{x.shape[0], 1, x.shape[1] * x.shape[2], x.shape[3]};
  const Pooling s = pooling({}, row, row, x.dtype);
  with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
    using By = std::conditional_t<std::is_void_v<Factor>, T, Factor>;
    launch(stream, pool_grid(row[2] * s.packs, 1, s.images), gate_kernel<T, Size, By>, s, static_cast<int>(row[2]),
           reinterpret_cast<const T*>(from), reinterpret_cast<const By*>(by), reinterpret_cast<T*>(to));
  });
}

}  // namespace lockstep::cuda
