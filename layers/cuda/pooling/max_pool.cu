#include "layers/pooling/max_pool.h"

#include "layers/cuda/context.h"
#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

namespace {

template <class T, int Size, bool with_relu>
__global__ void max_pool_kernel(Pooling s, const T* x, T* y, uint8_t* argmax) {
  each_pixel<Size>(s, s.height.outputs, s.width.outputs, [&](int image, int p, int q, int c) {
    const Slide::Inside rows = s.height.inside(p), columns = s.width.inside(q);
    int place = (rows.begin - rows.first) * s.width.size + columns.begin - columns.first;
    float best[Size];
    int where[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      best[k] = -INFINITY;
      where[k] = place;
    }
    for (int row = rows.begin; row < rows.end; ++row) {
      const T* from = x + place_in_x(s, image, row, columns.begin, c);
#pragma unroll 3
      for (int column = columns.begin; column < columns.end; ++column) {
        const Pack<T, Size> in = load_pack<T, Size>(from);
        from += s.channels;
#pragma unroll
        for (int k = 0; k < Size; ++k) {
          const float value = element(in, k);
          // Written so that a NaN is taken and kept.
          const bool keep = best[k] >= value || best[k] != best[k];
          best[k] = keep ? best[k] : value;
          where[k] = keep ? where[k] : place;
        }
        ++place;
      }
      place += s.width.size - (columns.end - columns.begin);
    }
    const int64_t at = place_in_y(s, image, p, q, c);
    Pack<uint8_t, Size> places;
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      if constexpr (with_relu) best[k] = relu(best[k]);
      places.v[k] = static_cast<uint8_t>(where[k]);
    }
    store_pack<T, Size>(y + at, best);
    *reinterpret_cast<Pack<uint8_t, Size>*>(argmax + at) = places;
  });
}

/// Each pixel asks the windows over it whether it was their maximum: every element is written once, and sums are in
/// ascending order of the windows.
template <class T, int Size, bool with_relu>
__global__ void max_pool_grad_kernel(Pooling s, const uint8_t* argmax, const T* dy, const T* y, T* dx) {
  each_pixel<Size>(s, s.height.length, s.width.length, [&](int image, int h, int w, int c) {
    const Slide::Covering rows = s.height.covering(h), columns = s.width.covering(w);
    float sum[Size] = {};
    for (int p = rows.begin; p < rows.end; ++p) {
      int64_t at = place_in_y(s, image, p, columns.begin, c);
      int place = (rows.place - p * s.height.stride) * s.width.size + columns.place - columns.begin * s.width.stride;
#pragma unroll 2
      for (int q = columns.begin; q < columns.end; ++q) {
        const auto places = load_pack<uint8_t, Size>(argmax + at);
        const auto in = load_pack<T, Size>(dy + at);
        Pack<T, Size> out;
        if constexpr (with_relu) out = load_pack<T, Size>(y + at);
#pragma unroll
        for (int k = 0; k < Size; ++k) {
          bool passes = places.v[k] == place;
          if constexpr (with_relu) passes = passes && element(out, k) > 0;
          sum[k] += passes ? element(in, k) : 0.0F;
        }
        at += s.channels;
        place -= s.width.stride;
      }
    }
    store_pack<T, Size>(dx + place_in_x(s, image, h, w, c), sum);
  });
}

}  // namespace

Kernel make(const MaxPoolOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  const Pooling s = pooling(op.window, x.shape, y.shape, x.dtype);
  return {.run = [s, x, y, with_relu = op.relu](Stream& stream, const Args& args) {
    if (y.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(y.shape[2] * s.packs, y.shape[1], y.shape[0]),
             with_relu ? max_pool_kernel<T, Size, true> : max_pool_kernel<T, Size, false>, s, args.in[0].as<const T>(),
             args.out[0].as<T>(), args.out[1].as<uint8_t>());
    });
  }};
}

Kernel make(const MaxPoolGradOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.out[0], &y = signature.in[1];
  const Pooling s = pooling(op.window, x.shape, y.shape, x.dtype);
  return {.run = [s, x, with_relu = op.relu](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(x.shape[2] * s.packs, x.shape[1], x.shape[0]),
             with_relu ? max_pool_grad_kernel<T, Size, true> : max_pool_grad_kernel<T, Size, false>, s,
             args.in[0].as<const uint8_t>(), args.in[1].as<const T>(), with_relu ? args.in[2].as<const T>() : nullptr,
             args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
