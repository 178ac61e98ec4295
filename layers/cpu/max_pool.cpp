#include "layers/max_pool.h"

#include <limits>

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

/// The maximum of one output pixel's window and its index, eight channels at a time.
template <class V>
[[gnu::always_inline]] inline void pool_pixel(const Sizes& s, const float* image, const Inside& rows, const Inside& columns,
                                              bool with_relu, int64_t c, float* y, uint8_t* argmax) {
  V best = broadcast<V>(-std::numeric_limits<float>::infinity());
  IntOf<V> where = broadcast_int<V>(static_cast<int32_t>(rows.begin * s.window.size[1] + columns.begin));
  for (int64_t r = rows.begin; r < rows.end; ++r)
    for (int64_t t = columns.begin; t < columns.end; ++t) {
      const V x = load<V>(image + ((rows.first + r) * s.w + columns.first + t) * s.c + c);
      // Written so that a NaN is taken and kept.
      const auto keep = best >= x || best != best;
      best = keep ? best : x;
      where = keep ? where : broadcast_int<V>(static_cast<int32_t>(r * s.window.size[1] + t));
    }
  store(y + c, with_relu ? relu(best) : best);
  store_bytes<V>(argmax + c, where);
}

/// dx of one sample where windows do not overlap: every element is written once by its own window, the rest is zero.
void scatter_apart(const Sizes& s, const uint8_t* argmax, const float* dy, const float* y, float* dx) {
  const auto& [size, stride, before, after] = s.window;
  for (int64_t p = 0; p < s.p; ++p)
    for (int64_t q = 0; q < s.q; ++q) {
      const int64_t at = (p * s.q + q) * s.c;
      const Inside rows = inside(s.window, 0, p, s.h), columns = inside(s.window, 1, q, s.w);
      for (int64_t r = rows.begin; r < rows.end; ++r)
        for (int64_t t = columns.begin; t < columns.end; ++t) {
          float* to = dx + ((rows.first + r) * s.w + columns.first + t) * s.c;
          const auto index = static_cast<int32_t>(r * size[1] + t);
          for_each_vec(s.c, [&]<class V>(V, int64_t c) {
            const V zero = broadcast<V>(0);
            const V gradient = load<V>(dy + at + c);
            const V passed = y ? (load<V>(y + at + c) > zero ? gradient : zero) : gradient;
            store(to + c, load_bytes<V>(argmax + at + c) == broadcast_int<V>(index) ? passed : zero);
          });
        }
    }
}

/// The same for any windows: adds in the order of the outputs.
void scatter_add(const Sizes& s, const uint8_t* argmax, const float* dy, const float* y, float* dx) {
  std::fill(dx, dx + s.h * s.w * s.c, 0.0F);
  for (int64_t p = 0; p < s.p; ++p)
    for (int64_t q = 0; q < s.q; ++q) {
      const int64_t row = p * s.window.stride[0] - s.window.pad_before[0];
      const int64_t column = q * s.window.stride[1] - s.window.pad_before[1];
      for (int64_t c = 0; c < s.c; ++c) {
        const int64_t at = (p * s.q + q) * s.c + c;
        if (y && !(y[at] > 0)) continue;
        const int64_t index = argmax[at];
        dx[((row + index / s.window.size[1]) * s.w + column + index % s.window.size[1]) * s.c + c] += dy[at];
      }
    }
}

}  // namespace

Kernel make(const MaxPoolOp& op, const Signature& signature) {
  const Sizes s = sizes_of(op.window, signature.in[0].shape, signature.out[0].shape);
  return {.run = [s, with_relu = op.relu](Stream&, const Args& args) {
    parallel_for(s.n * s.p, s.q * s.c * 20, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* image = args.in[0].as() + row / s.p * s.h * s.w * s.c;
        const Inside rows = inside(s.window, 0, row % s.p, s.h);
        for (int64_t q = 0; q < s.q; ++q) {
          const Inside columns = inside(s.window, 1, q, s.w);
          const int64_t at = (row * s.q + q) * s.c;
          for_each_vec(s.c, [&]<class V>(V, int64_t c) {
            pool_pixel<V>(s, image, rows, columns, with_relu, c, args.out[0].as() + at, args.out[1].as<uint8_t>() + at);
          });
        }
      }
    });
  }};
}

Kernel make(const MaxPoolGradOp& op, const Signature& signature) {
  const Sizes s = sizes_of(op.window, signature.out[0].shape, signature.in[1].shape);
  const bool apart = s.window.stride[0] >= s.window.size[0] && s.window.stride[1] >= s.window.size[1];
  const bool covers = s.window.stride == s.window.size && s.p * s.window.stride[0] >= s.h + s.window.pad_before[0] &&
                      s.q * s.window.stride[1] >= s.w + s.window.pad_before[1];
  return {.run = [=, relu = op.relu](Stream&, const Args& args) {
    const int64_t in = s.h * s.w * s.c, out = s.p * s.q * s.c;
    parallel_for(s.n, in * 6, [&](int64_t begin, int64_t end) {
      for (int64_t n = begin; n < end; ++n) {
        float* dx = args.out[0].as() + n * in;
        const float* y = relu ? args.in[2].as() + n * out : nullptr;
        if (apart && !covers) std::fill(dx, dx + in, 0.0F);
        (apart ? scatter_apart : scatter_add)(s, args.in[0].as<uint8_t>() + n * out, args.in[1].as() + n * out, y, dx);
      }
    });
  }};
}

}  // namespace lockstep::cpu
