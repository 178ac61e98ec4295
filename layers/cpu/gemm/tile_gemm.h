// Products of small matrices whose rows lie in panels of 16 columns, [panels][rows][16]: what our own convolutions are
// made of. Pure functions: any thread.
#pragma once

#include <cstdint>

namespace lockstep::cpu {

inline constexpr int64_t panel = 16;

/// Chosen once for the processor. Each element is one chain of fused multiply-adds in ascending order, so all choices
/// have the same bits.
struct TileGemm {
  /// c[i][j] = sum over d of a[i][d] * b[d][j], for `panels` panels of c. a: [depth/16][rows][16]; b:
  /// [panels][depth][16]; c: [panels][rows][16].
  void (*product)(const float* a, const float* b, float* c, int64_t rows, int64_t depth, int64_t panels);
  /// c[i][j] += sum over t of a[t][i] * b[t][j]. a: [m/16][rows][16]; b: [panels][rows][16]; c: [panels][m][16].
  void (*outer)(const float* a, const float* b, float* c, int64_t rows, int64_t m, int64_t panels);
  /// The same for rows of a and b, and panels of b and c, that are so many floats apart; rows may overlap. a:
  /// [rows][m].
  void (*correlate)(const float* a, int64_t a_step, const float* b, int64_t b_step, int64_t b_panel, float* c,
                    int64_t c_panel, int64_t rows, int64_t m, int64_t panels);
};
const TileGemm& tile_gemm();
/// Whether the processor has what files for vectors of 16 are compiled for (x86-64-v4).
bool has_avx512();

/// The choices that there are: for AVX2 and for AVX-512.
extern const TileGemm tile_gemm_8, tile_gemm_16;

}  // namespace lockstep::cpu
