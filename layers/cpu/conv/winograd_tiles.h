// Winograd's tiles of images, to and from what is multiplied. Pure functions: any thread.
#pragma once

#include <cstdint>

namespace lockstep::cpu {

inline constexpr int64_t places = 16;  // of a transformed tile

/// Images [N, height, width, channels] cut into overlapping tiles of 4x4 for tiles of 2x2 of the output
/// [N, rows, columns, filters].
struct TileGrid {
  int64_t height, width, channels, rows, columns, filters;
  int64_t pad[2];
  int64_t across, down;  // tiles of an image
};

/// Chosen once for the processor. Transformed tiles are [16][channels / 16][count][16]; all of them make those from
/// `begin` to `end` of a block of `count` tiles whose first one is `first`. All choices have the same bits.
struct WinogradTiles {
  void (*inputs)(const TileGrid& grid, const float* images, int64_t first, int64_t count, int64_t begin, int64_t end,
                 float* to);
  void (*output_grads)(const TileGrid& grid, const float* dy, int64_t first, int64_t count, int64_t begin, int64_t end,
                       float* to);
  /// To pixels of the output, with what follows them; `bias`: null for none.
  void (*outputs)(const TileGrid& grid, const float* from, int64_t first, int64_t count, int64_t begin, int64_t end,
                  const float* bias, bool relus, float* images);
};
/// The choices that there are: for AVX2 and for AVX-512.
extern const WinogradTiles winograd_tiles_8, winograd_tiles_16;

}  // namespace lockstep::cpu
