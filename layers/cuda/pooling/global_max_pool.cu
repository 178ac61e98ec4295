#include "layers/pooling/global_max_pool.h"

#include "layers/cuda/context.h"
#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

namespace {

/// A thread a pack of channels of one image, whose pixels are a row.
template <class T, int Size>
__global__ void global_max_pool_kernel(Pooling s, int pixels, const T* x, T* y, int32_t* argmax) {
  each_pixel<Size>(s, 1, 1, [&](int image, int, int, int c) {
    const T* from = x + int64_t{image} * pixels * s.channels + c;
    float best[Size];
    int where[Size] = {};
    const Pack<T, Size> first = load_pack<T, Size>(from);
#pragma unroll
    for (int k = 0; k < Size; ++k) best[k] = element(first, k);
    for (int pixel = 1; pixel < pixels; ++pixel) {
      from += s.channels;
      const Pack<T, Size> in = load_pack<T, Size>(from);
#pragma unroll
      for (int k = 0; k < Size; ++k) {
        const float value = element(in, k);
        // Written so that a NaN is taken and kept.
        const bool keep = best[k] >= value || best[k] != best[k];
        best[k] = keep ? best[k] : value;
        where[k] = keep ? where[k] : pixel;
      }
    }
    const int64_t at = int64_t{image} * s.channels + c;
    store_pack<T, Size>(y + at, best);
#pragma unroll
    for (int k = 0; k < Size; ++k) argmax[at + k] = where[k];
  });
}

template <class T, int Size>
__global__ void global_max_pool_grad_kernel(Pooling s, int pixels, const int32_t* argmax, const T* dy, T* dx) {
  each_pixel<Size>(s, 1, pixels, [&](int image, int, int pixel, int c) {
    const int64_t at = int64_t{image} * s.channels + c;
    const Pack<T, Size> in = load_pack<T, Size>(dy + at);
    float out[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) out[k] = argmax[at + k] == pixel ? element(in, k) : 0.0F;
    store_pack<T, Size>(dx + (int64_t{image} * pixels + pixel) * s.channels + c, out);
  });
}

/// The images as one row of pixels each.
Pooling as_rows(const Type& x) {
  const Shape row{x.shape[0], 1, x.shape[1] * x.shape[2], x.shape[3]};
  return pooling({}, row, row, x.dtype);
}

}  // namespace

Kernel make(const GlobalMaxPoolOp&, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const Pooling s = as_rows(x);
  return {.run = [s, x](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(s.packs, 1, s.images), global_max_pool_kernel<T, Size>, s, s.width.length,
             args.in[0].as<const T>(), args.out[0].as<T>(), args.out[1].as<int32_t>());
    });
  }};
}

Kernel make(const GlobalMaxPoolGradOp&, const Signature& signature, const SharedContext&) {
  const Type& x = signature.out[0];
  const Pooling s = as_rows(x);
  return {.run = [s, x](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(int64_t{s.width.length} * s.packs, 1, s.images), global_max_pool_grad_kernel<T, Size>, s,
             s.width.length, args.in[0].as<const int32_t>(), args.in[1].as<const T>(), args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
