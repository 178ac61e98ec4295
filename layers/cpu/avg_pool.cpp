#include "layers/avg_pool.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"
#include "layers/cpu/window_loop.h"

namespace lockstep::cpu {

namespace {

struct Sizes {
  Window window;
  int64_t n, h, w, p, q, c;
};

Sizes sizes_of(const Window& window, const Shape& x, const Shape& y) { return {window, x[0], x[1], x[2], y[1], y[2], x[3]}; }

/// Calls body(pixel, at, share) for every pixel (offset into the image) of every window; `at` is the window's output.
template <class Body>
void each_pixel(const Sizes& s, Body&& body) {
  for (int64_t p = 0; p < s.p; ++p)
    for (int64_t q = 0; q < s.q; ++q) {
      const Inside rows = inside(s.window, 0, p, s.h), columns = inside(s.window, 1, q, s.w);
      const float share = 1 / static_cast<float>((rows.end - rows.begin) * (columns.end - columns.begin));
      for (int64_t r = rows.begin; r < rows.end; ++r)
        for (int64_t t = columns.begin; t < columns.end; ++t)
          body(((rows.first + r) * s.w + columns.first + t) * s.c, (p * s.q + q) * s.c, share);
    }
}

/// to[i] += from[i] * scale
void add_scaled(float* to, const float* from, float scale, int64_t n) {
  for_each_vec(n, [=]<class V>(V, int64_t i) {
    store(to + i, load<V>(to + i) + load<V>(from + i) * broadcast<V>(scale));
  });
}

}  // namespace

Kernel make(const AvgPoolOp& op, const Signature& signature) {
  const Sizes s = sizes_of(op.window, signature.in[0].shape, signature.out[0].shape);
  return {.run = [s](Stream&, const Args& args) {
    const int64_t in = s.h * s.w * s.c, out = s.p * s.q * s.c;
    parallel_for(s.n, in * 4, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* x = args.in[0].as() + n * in;
        float* y = args.out[0].as() + n * out;
        std::fill(y, y + out, 0.0F);
        each_pixel(s, [&](int64_t pixel, int64_t at, float share) { add_scaled(y + at, x + pixel, share, s.c); });
      }
    });
  }};
}

Kernel make(const AvgPoolGradOp& op, const Signature& signature) {
  const Sizes s = sizes_of(op.window, signature.out[0].shape, signature.in[0].shape);
  return {.run = [s](Stream&, const Args& args) {
    const int64_t in = s.h * s.w * s.c, out = s.p * s.q * s.c;
    parallel_for(s.n, in * 8, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        const float* dy = args.in[0].as() + n * out;
        float* dx = args.out[0].as() + n * in;
        std::fill(dx, dx + in, 0.0F);
        each_pixel(s, [&](int64_t pixel, int64_t at, float share) { add_scaled(dx + pixel, dy + at, share, s.c); });
      }
    });
  }};
}

Kernel make(const GlobalAvgPoolOp&, const Signature& signature) {
  const Shape x = signature.in[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], c = x[3]](Stream&, const Args& args) {
    const float share = 1 / static_cast<float>(pixels);
    for (int64_t i = 0; i < n; ++i) {
      const float* from = args.in[0].as() + i * pixels * c;
      float* y = args.out[0].as() + i * c;
      std::fill(y, y + c, 0.0F);
      for (int64_t pixel = 0; pixel < pixels; ++pixel) add_scaled(y, from + pixel * c, 1.0F, c);
      for (int64_t k = 0; k < c; ++k) y[k] *= share;
    }
  }};
}

Kernel make(const GlobalAvgPoolGradOp&, const Signature& signature) {
  const Shape x = signature.out[0].shape;
  return {.run = [n = x[0], pixels = x[1] * x[2], c = x[3]](Stream&, const Args& args) {
    const float share = 1 / static_cast<float>(pixels);
    for (int64_t i = 0; i < n; ++i) {
      const float* dy = args.in[0].as() + i * c;
      for (int64_t pixel = 0; pixel < pixels; ++pixel) {
        float* dx = args.out[0].as() + (i * pixels + pixel) * c;
        for_each_vec(c, [=]<class V>(V, int64_t k) { store(dx + k, load<V>(dy + k) * broadcast<V>(share)); });
      }
    }
  }};
}

}  // namespace lockstep::cpu
