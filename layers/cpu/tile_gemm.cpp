#include "layers/cpu/tile_gemm.h"

namespace lockstep::cpu {

const TileGemm& tile_gemm() {
  static const TileGemm& chosen = __builtin_cpu_supports("avx512f") ? tile_gemm_16 : tile_gemm_8;
  return chosen;
}

}  // namespace lockstep::cpu
