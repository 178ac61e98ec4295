#include "layers/cpu/gemm/tile_gemm.h"

namespace lockstep::cpu {

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const TileGemm& tile_gemm() {
  static const TileGemm& chosen = has_avx512() ? tile_gemm_16 : tile_gemm_8;
  return chosen;
}

}  // namespace lockstep::cpu
