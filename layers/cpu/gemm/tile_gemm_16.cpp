#include "layers/cpu/gemm/tile_gemm_loops.h"

namespace lockstep::cpu {

using Floats16 = float __attribute__((vector_size(64)));
const TileGemm tile_gemm_16 = Loops<Floats16>::all;

}  // namespace lockstep::cpu
