#include "layers/cpu/gemm/tile_gemm_loops.h"

namespace lockstep::cpu {

using Floats8 = float __attribute__((vector_size(32)));
const TileGemm tile_gemm_8 = Loops<Floats8>::all;

}  // namespace lockstep::cpu
