// The loops of WinogradTiles for one type of vector; included by one source file an instruction set.
#pragma once

#include "layers/cpu/conv/winograd_tiles.h"
#include "layers/cpu/conv/winograd_transforms.h"
#include "layers/cpu/gemm/tile_gemm.h"

namespace lockstep::cpu {
namespace {

/// Where the pixels of a tile lie, zeros for those outside of the image.
template <int Side>
struct Pixels {
  const float* from[Side][Side];
  int64_t inside[Side][Side];  // all bits, or none

  /// `y`, `x`: of the first pixel.
  Pixels(const float* image, int64_t height, int64_t width, int64_t channels, int64_t y, int64_t x) {
    alignas(64) static constexpr float zeros[panel] = {};
    for (int64_t i = 0; i < Side; ++i)
      for (int64_t j = 0; j < Side; ++j) {
        const bool in = y + i >= 0 && y + i < height && x + j >= 0 && x + j < width;
        from[i][j] = in ? image + ((y + i) * width + x + j) * channels : zeros;
        inside[i][j] = in ? ~int64_t{0} : 0;
      }
  }
  template <class V>
  [[gnu::always_inline]] void load_from(int64_t channel, V (&d)[Side][Side]) const {
#pragma GCC unroll 4
    for (int i = 0; i < Side; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < Side; ++j) d[i][j] = load<V>(from[i][j] + (channel & inside[i][j]));
  }
};

template <class V>
struct TileLoops {
  struct At {
    int64_t image, y, x;  // of the output
  };
  static At at(const TileGrid& g, int64_t tile) {
    return {tile / (g.down * g.across), tile / g.across % g.down * 2, tile % g.across * 2};
  }

  /// Of images [.., height, width, channels], whose tile's first pixel is `pad` before the output's.
  template <int Side, class Transform>
  [[gnu::always_inline]] static void transform(const TileGrid& g, const float* images, int64_t height, int64_t width,
                                               int64_t channels, const int64_t (&pad)[2], int64_t first, int64_t count,
                                               int64_t begin, int64_t end, float* to, Transform transform) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const auto [image, y, x] = at(g, first + tile);
      const Pixels<Side> pixels(images + image * height * width * channels, height, width, channels, y - pad[0],
                                x - pad[1]);
      for (int64_t c = 0; c < channels; c += cpu::width<V>) {
        V d[Side][Side], v[4][4];
        pixels.load_from(c, d);
        transform(d, v);
        float* out = to + (c / panel * count + tile) * panel + c % panel;
#pragma GCC unroll 16
        for (int64_t i = 0; i < places; ++i) store(out + i * channels * count, v[i / 4][i % 4]);
      }
    }
  }

  static void inputs(const TileGrid& g, const float* images, int64_t first, int64_t count, int64_t begin, int64_t end,
                     float* to) {
    transform<4>(
        g, images, g.height, g.width, g.channels, g.pad, first, count, begin, end, to,
        [](const V(&d)[4][4], V(&v)[4][4]) __attribute__((always_inline)) { transform_input(d, v); });
  }

  static void output_grads(const TileGrid& g, const float* dy, int64_t first, int64_t count, int64_t begin, int64_t end,
                           float* to) {
    transform<2>(
        g, dy, g.rows, g.columns, g.filters, {0, 0}, first, count, begin, end, to,
        [](const V(&d)[2][2], V(&v)[4][4]) __attribute__((always_inline)) { transform_output_grad(d, v); });
  }

  static void outputs(const TileGrid& g, const float* from, int64_t first, int64_t count, int64_t begin, int64_t end,
                      const float* bias, bool relus, float* images) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const auto [image, y, x] = at(g, first + tile);
      float* out = images + ((image * g.rows + y) * g.columns + x) * g.filters;
      const bool second_row = y + 1 < g.rows, second_column = x + 1 < g.columns;
      for (int64_t k = 0; k < g.filters; k += cpu::width<V>) {
        const float* in = from + (k / panel * count + tile) * panel + k % panel;
        V m[4][4], made[2][2];
#pragma GCC unroll 16
        for (int64_t i = 0; i < places; ++i) m[i / 4][i % 4] = load<V>(in + i * g.filters * count);
        transform_output(m, made);
        const V add = bias ? load<V>(bias + k) : broadcast<V>(0);
        const auto put = [&](int i, int j) __attribute__((always_inline)) {
          const V sum = bias ? made[i][j] + add : made[i][j];
          store(out + (i * g.columns + j) * g.filters + k, relus ? relu(sum) : sum);
        };
        put(0, 0);
        if (second_column) put(0, 1);
        if (second_row) put(1, 0);
        if (second_row && second_column) put(1, 1);
      }
    }
  }

  static constexpr WinogradTiles all{inputs, output_grads, outputs};
};

}  // namespace
}  // namespace lockstep::cpu
