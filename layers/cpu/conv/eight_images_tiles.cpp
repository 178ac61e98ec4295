// Compiled so that a * b + c is one fused operation.
#include "layers/cpu/conv/eight_images_tiles.h"

#include <utility>

#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

template <int Pixels, int Filters>
void forward_tile(const ForwardTile& t) {
  Vec sum[Filters][Pixels];
#pragma GCC unroll 6
  for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 6
    for (int p = 0; p < Pixels; ++p) sum[f][p] = broadcast<Vec>(t.bias ? t.bias[f] : 0.0F);
  const float *row = t.x, *weights = t.w;
  for (int64_t r = 0; r < t.rows; ++r, row += t.row_step * 8, weights += t.weight_step) {
    const float *x = row, *w = weights;
    for (int64_t i = 0; i < t.count; ++i, x += 8, w += Filters) {
      Vec at[Pixels];
#pragma GCC unroll 6
      for (int p = 0; p < Pixels; ++p) at[p] = load<Vec>(x + p * t.pixel_step * 8);
#pragma GCC unroll 6
      for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 6
        for (int p = 0; p < Pixels; ++p) sum[f][p] = at[p] * w[f] + sum[f][p];
    }
  }
#pragma GCC unroll 6
  for (int p = 0; p < Pixels; ++p)
#pragma GCC unroll 6
    for (int f = 0; f < Filters; ++f) store(t.y + (p * t.y_step + f) * 8, t.relu ? cpu::relu(sum[f][p]) : sum[f][p]);
}

template <int Values, int Filters>
void weight_grad_tile(const WeightGradTile& t) {
  Vec sum[Filters][Values];
#pragma GCC unroll 6
  for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 6
    for (int i = 0; i < Values; ++i) sum[f][i] = load<Vec>(t.sums + (i * t.sum_step + f) * 8);
  for (int64_t r = 0; r < t.rows; ++r) {
    const float *x = t.x + r * t.x_row_step * 8, *dy = t.dy + r * t.dy_row_step * 8;
    for (int64_t q = 0; q < t.columns; ++q, x += t.pixel_step * 8, dy += t.dy_step * 8) {
      Vec at[Values];
#pragma GCC unroll 6
      for (int i = 0; i < Values; ++i) at[i] = load<Vec>(x + i * 8);
#pragma GCC unroll 6
      for (int f = 0; f < Filters; ++f) {
        const Vec grad = load<Vec>(dy + f * 8);
#pragma GCC unroll 6
        for (int i = 0; i < Values; ++i) sum[f][i] = at[i] * grad + sum[f][i];
      }
    }
  }
#pragma GCC unroll 6
  for (int f = 0; f < Filters; ++f)
#pragma GCC unroll 6
    for (int i = 0; i < Values; ++i) store(t.sums + (i * t.sum_step + f) * 8, sum[f][i]);
}

/// Of pick's functions.
template <class Tile, class Pick>
constexpr TileTable<Tile> tile_table(Pick pick) {
  TileTable<Tile> table{};
  const auto add = [&]<size_t I>(std::integral_constant<size_t, I>) {
    constexpr int pixels = I / most_filters + 1, filters = I % most_filters + 1;
    if constexpr (pixels * filters <= most_sums)
      table[pixels - 1][filters - 1] = pick.template operator()<pixels, filters>();
  };
  [&]<size_t... I>(std::index_sequence<I...>) { (add(std::integral_constant<size_t, I>{}), ...); }
  (std::make_index_sequence<most_pixels * most_filters>{});
  return table;
}
/// Eight rows of eight values become eight columns.
inline void transpose(Vec (&v)[8]) {
  Vec a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = __builtin_shufflevector(v[i], v[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    a[i + 1] = __builtin_shufflevector(v[i], v[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; ++j) {
      b[i + j] = __builtin_shufflevector(a[i + j], a[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      b[i + j + 2] = __builtin_shufflevector(a[i + j], a[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int i = 0; i < 4; ++i) {
    v[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    v[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
}

}  // namespace

constinit const TileTable<ForwardTile> forward_tiles =
    tile_table<ForwardTile>([]<int P, int F> { return &forward_tile<P, F>; });
constinit const TileTable<WeightGradTile> weight_grad_tiles =
    tile_table<WeightGradTile>([]<int I, int F> { return &weight_grad_tile<I, F>; });

void interleave(const float* from, int64_t step, int64_t images, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    Vec v[8] = {};
    for (int64_t n = 0; n < images; ++n) v[n] = load<Vec>(from + n * step + i);
    transpose(v);
    for (int64_t n = 0; n < 8; ++n) store(to + (i + n) * 8, v[n]);
  }
  for (; i < count; ++i)
    for (int64_t n = 0; n < 8; ++n) to[i * 8 + n] = n < images ? from[n * step + i] : 0.0F;
}

void separate(const float* from, int64_t step, int64_t images, int64_t count, float* to) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    Vec v[8];
    for (int64_t n = 0; n < 8; ++n) v[n] = load<Vec>(from + (i + n) * 8);
    transpose(v);
    for (int64_t n = 0; n < images; ++n) store(to + n * step + i, v[n]);
  }
  for (; i < count; ++i)
    for (int64_t n = 0; n < images; ++n) to[n * step + i] = from[i * 8 + n];
}

}  // namespace lockstep::cpu
