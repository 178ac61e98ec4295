#include "layers/pooling/avg_pool.h"

#include "layers/cpu/conv/window_loop.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// One over the pixels that the window of output (p, q) has inside the image.
float share(const Inside& rows, const Inside& columns) {
  return 1 / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
}

void average_row(const PoolSizes& s, int64_t p, const float* image, float* y) {
  const Inside rows = inside(s.window, 0, p, s.h);
  for (int64_t q = 0; q < s.q; ++q) {
    const Inside columns = inside(s.window, 1, q, s.w);
    const float scale = share(rows, columns);
    for_each_vec(s.c, [&]<class V>(V, int64_t c) {
      V sum = broadcast<V>(0);
      for (int64_t r = rows.begin; r < rows.end; ++r)
        for (int64_t t = columns.begin; t < columns.end; ++t)
          sum += load<V>(image + ((rows.first + r) * s.w + columns.first + t) * s.c + c);
      store(y + q * s.c + c, sum * broadcast<V>(scale));
    });
  }
}

/// As in max pooling, each pixel asks the windows over it.
void gradient_row(const PoolSizes& s, int64_t h, const float* dy, float* dx) {
  const Covering rows = covering(s.window, 0, h, s.p);
  for (int64_t w = 0; w < s.w; ++w) {
    const Covering columns = covering(s.window, 1, w, s.q);
    for_each_vec(s.c, [&]<class V>(V, int64_t c) {
      V sum = broadcast<V>(0);
      for (int64_t p = rows.begin; p < rows.end; ++p)
        for (int64_t q = columns.begin; q < columns.end; ++q) {
          const float scale = share(inside(s.window, 0, p, s.h), inside(s.window, 1, q, s.w));
          sum += load<V>(dy + (p * s.q + q) * s.c + c) * broadcast<V>(scale);
        }
      store(dx + w * s.c + c, sum);
    });
  }
}

}  // namespace

Kernel make(const AvgPoolOp& op, const Signature& signature) {
  const PoolSizes s = pool_sizes(op.window, signature.in[0].shape, signature.out[0].shape);
  return {.run = [s](Stream&, const Args& args) {
    parallel_for(s.n * s.p, s.q * s.c * 20, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        average_row(s, row % s.p, args.in[0].as() + row / s.p * s.h * s.w * s.c, args.out[0].as() + row * s.q * s.c);
    });
  }};
}

Kernel make(const AvgPoolGradOp& op, const Signature& signature) {
  const PoolSizes s = pool_sizes(op.window, signature.out[0].shape, signature.in[0].shape);
  return {.run = [s](Stream&, const Args& args) {
    parallel_for(s.n * s.h, s.w * s.c * 6, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        gradient_row(s, row % s.h, args.in[0].as() + row / s.h * s.p * s.q * s.c, args.out[0].as() + row * s.w * s.c);
    });
  }};
}

Kernel make(const GlobalAvgPoolOp& op, const Signature& signature) {
  const Shape x = signature.in[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], channels = x[3], whole = op.pixels](Stream&, const Args& args) {
    const float scale = 1 / static_cast<float>(whole);
    parallel_for(n, pixels * channels * 4, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const float* from = args.in[0].as() + i * pixels * channels;
        float* y = args.out[0].as() + i * channels;
        // Pixel by pixel, so that memory is read in order; the sums stay in the first-level cache.
        std::fill(y, y + channels, 0.0F);
        for (int64_t pixel = 0; pixel < pixels; ++pixel)
          for_each_vec(channels, [&]<class V>(V, int64_t c) {
            store(y + c, load<V>(y + c) + load<V>(from + pixel * channels + c));
          });
        for_each_vec(channels, [&]<class V>(V, int64_t c) { store(y + c, load<V>(y + c) * broadcast<V>(scale)); });
      }
    });
  }};
}

Kernel make(const GlobalAvgPoolGradOp& op, const Signature& signature) {
  const Shape x = signature.out[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], channels = x[3], whole = op.pixels](Stream&, const Args& args) {
    const float scale = 1 / static_cast<float>(whole);
    parallel_for(n * pixels, channels * 8, [&](int64_t begin, int64_t end) {
      for (int64_t pixel = begin; pixel < end; ++pixel) {
        const float* dy = args.in[0].as() + pixel / pixels * channels;
        float* dx = args.out[0].as() + pixel * channels;
        for_each_vec(channels, [=]<class V>(V, int64_t c) { store(dx + c, load<V>(dy + c) * broadcast<V>(scale)); });
      }
    });
  }};
}

}  // namespace lockstep::cpu
