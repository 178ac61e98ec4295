// What convolutions of eight images at a time are made of: sums of products in registers, and images side by side.
// Pure functions: any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace lockstep::cpu {

/// Accumulators of a tile: as many as leave room in 16 registers for what is multiplied.
inline constexpr int most_sums = 12, most_filters = 6, most_pixels = 6;

/// How many filters share a tile: the most that share them evenly.
inline int64_t tile_filters(int64_t filters) {
  int64_t tile = most_filters;
  while (filters % tile != 0) --tile;
  return tile;
}
/// How many pixels, or values of a kernel, are in a tile with so many filters.
inline int64_t tile_pixels(int64_t filters) { return std::min<int64_t>(most_sums / filters, most_pixels); }

/// y[p * y_step + f] = bias[f] + the sum over `rows` rows of `count` values side by side, in ascending order, of
/// x[r * row_step + p * pixel_step + i] * w[r * weight_step + i * filters + f], then relu. Here and below, x, y, dy and
/// sums are vectors of 8.
struct ForwardTile {
  const float *x, *w, *bias;  // bias null: zeros
  float* y;
  int64_t pixel_step, y_step;
  int64_t rows, count, row_step, weight_step;
  bool relu;
};
/// sums[i * sum_step + f] += the sum over rows r and columns q, in ascending order, of
/// x[r * x_row_step + q * pixel_step + i] * dy[r * dy_row_step + q * dy_step + f].
struct WeightGradTile {
  const float *x, *dy;
  float* sums;
  int64_t pixel_step, dy_step, sum_step;
  int64_t rows, columns, x_row_step, dy_row_step;
};

/// table[pixels - 1][filters - 1] is the function for them, null where a tile would have too many sums.
template <class Tile>
using TileTable = std::array<std::array<void (*)(const Tile&), most_filters>, most_pixels>;

extern const TileTable<ForwardTile> forward_tiles;
/// table[values - 1][filters - 1].
extern const TileTable<WeightGradTile> weight_grad_tiles;

/// to[i][n] = from[n * step + i] for `images` images, zeros for the rest of eight.
void interleave(const float* from, int64_t step, int64_t images, int64_t count, float* to);
/// to[n * step + i] = from[i][n] for `images` images.
void separate(const float* from, int64_t step, int64_t images, int64_t count, float* to);

}  // namespace lockstep::cpu
