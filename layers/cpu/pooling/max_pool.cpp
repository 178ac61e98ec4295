#include "layers/pooling/max_pool.h"

#include <limits>
#include <span>
#include <vector>

#include "layers/cpu/conv/window_loop.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// The largest value so far, and its place.
template <class V>
struct Largest {
  [[gnu::always_inline]] void take(V x, int64_t place) {
    // Written so that a NaN is taken and kept.
    const auto keep = best >= x || best != best;
    best = keep ? best : x;
    where = keep ? where : broadcast_int<V>(static_cast<int32_t>(place));
  }
  [[gnu::always_inline]] void write(bool with_relu, float* y, uint8_t* argmax) const {
    store(y, with_relu ? relu(best) : best);
    store_bytes<V>(argmax, where);
  }

  V best;
  IntOf<V> where;
};

/// The maximum of one window, and its place there, for the channels from c on.
template <class V>
[[gnu::always_inline]] inline void pool_pixel(const PoolSizes& s, const float* image, const Inside& rows,
                                              const Inside& columns, bool with_relu, int64_t c, float* y,
                                              uint8_t* argmax) {
  Largest<V> largest{broadcast<V>(-std::numeric_limits<float>::infinity()),
                     broadcast_int<V>(static_cast<int32_t>(rows.begin * s.window.size[1] + columns.begin))};
  for (int64_t r = rows.begin; r < rows.end; ++r)
    for (int64_t t = columns.begin; t < columns.end; ++t)
      largest.take(load<V>(image + ((rows.first + r) * s.w + columns.first + t) * s.c + c), r * s.window.size[1] + t);
  largest.write(with_relu, y + c, argmax + c);
}

/// The same for a whole window of R x S pixels that begins at `image`.
template <int R, int S, class V>
[[gnu::always_inline]] inline void pool_whole(const PoolSizes& s, const float* image, bool with_relu, int64_t c,
                                              float* y, uint8_t* argmax) {
  Largest<V> largest{load<V>(image + c), broadcast_int<V>(0)};
#pragma GCC unroll 9
  for (int place = 1; place < R * S; ++place)
    largest.take(load<V>(image + (place / S * s.w + place % S) * s.c + c), place);
  largest.write(with_relu, y + c, argmax + c);
}

/// One row of dx. Each pixel asks the windows over it whether it was their maximum: every element is written once, and
/// sums are in ascending order of the windows, however rows are shared among threads.
template <bool with_relu>
void gradient_row(const PoolSizes& s, int64_t h, std::span<const Covering> all_columns, const uint8_t* argmax,
                  const float* dy, const float* y, float* dx) {
  const Covering rows = covering(s.window, 0, h, s.p);
  for (int64_t w = 0; w < s.w; ++w) {
    const Covering columns = all_columns[static_cast<size_t>(w)];
    for_each_overlapping(
        s.c, [&]<class V>(V, int64_t c) __attribute__((always_inline)) {
          const V zero = broadcast<V>(0);
          V sum = zero;
          for (int64_t p = rows.begin; p < rows.end; ++p)
            for (int64_t q = columns.begin; q < columns.end; ++q) {
              const int64_t at = (p * s.q + q) * s.c + c;
              const int64_t place =
                  (rows.place - p * s.window.stride[0]) * s.window.size[1] + columns.place - q * s.window.stride[1];
              V passed =
                  load_bytes<V>(argmax + at) == broadcast_int<V>(static_cast<int32_t>(place)) ? load<V>(dy + at) : zero;
              if constexpr (with_relu) passed = load<V>(y + at) > zero ? passed : zero;
              sum += passed;
            }
          store(dx + w * s.c + c, sum);
        });
  }
}

/// Windows side by side and inside the image: each pixel lies in one window or in none.
bool side_by_side(const Window& window) {
  const Size2 none{0, 0};
  return window.stride == window.size && window.pad_before == none && window.pad_after == none;
}

/// The rows of dx under a row of windows side by side: no sums, and nothing to look up.
template <bool with_relu>
void gradient_rows_apart(const PoolSizes& s, const uint8_t* argmax, const float* dy, const float* y, float* dx) {
  const Size2 size = s.window.size;
  for (int64_t q = 0; q < s.q; ++q) {
    const int64_t at = q * s.c;
    for_each_overlapping(
        s.c, [&]<class V>(V, int64_t c) __attribute__((always_inline)) {
          const V zero = broadcast<V>(0);
          const IntOf<V> where = load_bytes<V>(argmax + at + c);
          V passed = load<V>(dy + at + c);
          if constexpr (with_relu) passed = load<V>(y + at + c) > zero ? passed : zero;
          for (int64_t r = 0; r < size[0]; ++r)
            for (int64_t t = 0; t < size[1]; ++t) {
              const auto passes = where == broadcast_int<V>(static_cast<int32_t>(r * size[1] + t));
              store(dx + (r * s.w + q * size[1] + t) * s.c + c, passes ? passed : zero);
            }
        });
  }
  for (int64_t r = 0; r < size[0]; ++r) std::fill(dx + (r * s.w + s.q * size[1]) * s.c, dx + (r + 1) * s.w * s.c, 0.0F);
}

}  // namespace

Kernel make(const MaxPoolOp& op, const Signature& signature) {
  const PoolSizes s = pool_sizes(op.window, signature.in[0].shape, signature.out[0].shape);
  const bool two = op.window.size == Size2{2, 2}, three = op.window.size == Size2{3, 3};
  return {.run = [s, two, three, with_relu = op.relu](Stream&, const Args& args) {
    parallel_for(s.n * s.p, s.q * s.c * 20, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* image = args.in[0].as() + row / s.p * s.h * s.w * s.c;
        const Inside rows = inside(s.window, 0, row % s.p, s.h);
        for (int64_t q = 0; q < s.q; ++q) {
          const Inside columns = inside(s.window, 1, q, s.w);
          const int64_t at = (row * s.q + q) * s.c;
          float* y = args.out[0].as() + at;
          uint8_t* argmax = args.out[1].as<uint8_t>() + at;
          const bool whole = std::max(rows.begin, columns.begin) == 0 && rows.end == s.window.size[0] &&
                             columns.end == s.window.size[1];
          const float* first = image + (rows.first * s.w + columns.first) * s.c;
          for_each_overlapping(
              s.c, [&]<class V>(V, int64_t c) __attribute__((always_inline)) {
                if (whole && two)
                  pool_whole<2, 2, V>(s, first, with_relu, c, y, argmax);
                else if (whole && three)
                  pool_whole<3, 3, V>(s, first, with_relu, c, y, argmax);
                else
                  pool_pixel<V>(s, image, rows, columns, with_relu, c, y, argmax);
              });
        }
      }
    });
  }};
}

Kernel make(const MaxPoolGradOp& op, const Signature& signature) {
  const PoolSizes s = pool_sizes(op.window, signature.out[0].shape, signature.in[1].shape);
  if (side_by_side(op.window))
    return {.run = [s, with_relu = op.relu](Stream&, const Args& args) {
      const int64_t rows = s.window.size[0], left = s.h - s.p * rows;
      parallel_for(s.n * s.p, rows * s.w * s.c * 6, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t at = row * s.q * s.c;
          float* dx = args.out[0].as() + (row / s.p * s.h + row % s.p * rows) * s.w * s.c;
          const uint8_t* argmax = args.in[0].as<uint8_t>() + at;
          const float* y = with_relu ? args.in[2].as() + at : nullptr;
          (with_relu ? gradient_rows_apart<true> : gradient_rows_apart<false>)(s, argmax, args.in[1].as() + at, y, dx);
          if (row % s.p == s.p - 1) std::fill_n(dx + rows * s.w * s.c, left * s.w * s.c, 0.0F);
        }
      });
    }};
  // Which windows cover a column takes divisions: looked up, not computed at every pixel.
  std::vector<Covering> columns;
  for (int64_t w = 0; w < s.w; ++w) columns.push_back(covering(s.window, 1, w, s.q));
  return {.run = [s, with_relu = op.relu, columns](Stream&, const Args& args) {
    parallel_for(s.n * s.h, s.w * s.c * 6, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t out = row / s.h * s.p * s.q * s.c;
        const uint8_t* argmax = args.in[0].as<uint8_t>() + out;
        const float* dy = args.in[1].as() + out;
        float* dx = args.out[0].as() + row * s.w * s.c;
        const float* y = with_relu ? args.in[2].as() + out : nullptr;
        (with_relu ? gradient_row<true> : gradient_row<false>)(s, row % s.h, columns, argmax, dy, y, dx);
      }
    });
  }};
}

}  // namespace lockstep::cpu
