#include "layers/pooling/avg_pool.h"

#include "layers/cuda/context.h"
#include "layers/cuda/pooling/pool.cuh"

namespace lockstep::cuda {

namespace {

/// One over the pixels that a window has inside the image.
__device__ float share(const Slide::Inside& rows, const Slide::Inside& columns) {
  return 1 / static_cast<float>(int64_t{rows.end - rows.begin} * (columns.end - columns.begin));
}

template <class T, int Size>
__global__ void avg_pool_kernel(Pooling s, const T* x, T* y) {
  each_pixel<Size>(s, s.height.outputs, s.width.outputs, [&](int image, int p, int q, int c) {
    const Slide::Inside rows = s.height.inside(p), columns = s.width.inside(q);
    float sum[Size] = {};
    for (int row = rows.begin; row < rows.end; ++row) {
      const T* from = x + place_in_x(s, image, row, columns.begin, c);
#pragma unroll 3
      for (int column = columns.begin; column < columns.end; ++column) {
        const Pack<T, Size> in = load_pack<T, Size>(from);
        from += s.channels;
#pragma unroll
        for (int k = 0; k < Size; ++k) sum[k] += element(in, k);
      }
    }
    const float scale = share(rows, columns);
#pragma unroll
    for (int k = 0; k < Size; ++k) sum[k] *= scale;
    store_pack<T, Size>(y + place_in_y(s, image, p, q, c), sum);
  });
}

/// As in max pooling, each pixel asks the windows over it.
template <class T, int Size>
__global__ void avg_pool_grad_kernel(Pooling s, const T* dy, T* dx) {
  each_pixel<Size>(s, s.height.length, s.width.length, [&](int image, int h, int w, int c) {
    const Slide::Covering rows = s.height.covering(h), columns = s.width.covering(w);
    float sum[Size] = {};
    for (int p = rows.begin; p < rows.end; ++p) {
      const T* from = dy + place_in_y(s, image, p, columns.begin, c);
#pragma unroll 2
      for (int q = columns.begin; q < columns.end; ++q) {
        const Pack<T, Size> in = load_pack<T, Size>(from);
        from += s.channels;
        const float scale = share(s.height.inside(p), s.width.inside(q));
#pragma unroll
        for (int k = 0; k < Size; ++k) sum[k] += element(in, k) * scale;
      }
    }
    store_pack<T, Size>(dx + place_in_x(s, image, h, w, c), sum);
  });
}

template <class T, int Size>
__global__ void global_avg_pool_grad_kernel(Pooling s, int pixels, float scale, const T* dy, T* dx) {
  each_pixel<Size>(s, 1, pixels, [&](int image, int, int pixel, int c) {
    const Pack<T, Size> in = load_pack<T, Size>(dy + int64_t{image} * s.channels + c);
    float out[Size];
#pragma unroll
    for (int k = 0; k < Size; ++k) out[k] = element(in, k) * scale;
    store_pack<T, Size>(dx + (int64_t{image} * pixels + pixel) * s.channels + c, out);
  });
}

/// The images as one row of pixels each.
Shape as_row(const Shape& x) { return Shape{x[0], 1, x[1] * x[2], x[3]}; }

}  // namespace

Kernel make(const AvgPoolOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.in[0], &y = signature.out[0];
  const Pooling s = pooling(op.window, x.shape, y.shape, x.dtype);
  return {.run = [s, y](Stream& stream, const Args& args) {
    if (y.shape.elements() == 0) return;
    with_packs(y.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(y.shape[2] * s.packs, y.shape[1], y.shape[0]), avg_pool_kernel<T, Size>, s,
             args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

Kernel make(const AvgPoolGradOp& op, const Signature& signature, const SharedContext&) {
  const Type &x = signature.out[0], &y = signature.in[0];
  const Pooling s = pooling(op.window, x.shape, y.shape, x.dtype);
  return {.run = [s, x](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(x.shape[2] * s.packs, x.shape[1], x.shape[0]), avg_pool_grad_kernel<T, Size>, s,
             args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

Kernel make(const GlobalAvgPoolOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const int64_t pixels = x.shape[1] * x.shape[2];
  // The pixels of an image are one part of the rows: its sums are the image's.
  const Columns s = Columns::of_parts(x.shape[0] * pixels, x.shape[3], columns_pack(x.dtype, x.shape[3]), pixels);
  return {.run = [s, dtype = x.dtype, scale = 1 / static_cast<float>(op.pixels)](Stream& stream, const Args& args) {
    if (s.empty()) return;
    with_packs(dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, s.grid(), sum_parts_kernel<T, Size, T>, s, args.in[0].as<const T>(), args.out[0].as<T>(), scale);
    });
  }};
}

Kernel make(const GlobalAvgPoolGradOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.out[0];
  const Shape row = as_row(x.shape);
  const Pooling s = pooling({}, row, row, x.dtype);
  return {.run = [s, x, pixels = row[2], scale = 1 / static_cast<float>(op.pixels)](Stream& stream, const Args& args) {
    if (x.shape.elements() == 0) return;
    with_packs(x.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
      launch(stream, pool_grid(pixels * s.packs, 1, s.images), global_avg_pool_grad_kernel<T, Size>, s, pixels, scale,
             args.in[0].as<const T>(), args.out[0].as<T>());
    });
  }};
}

}  // namespace lockstep::cuda
