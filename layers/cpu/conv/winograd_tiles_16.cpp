#include "layers/cpu/conv/winograd_tiles_loops.h"

namespace lockstep::cpu {

using Floats16 = float __attribute__((vector_size(64)));
const WinogradTiles winograd_tiles_16 = TileLoops<Floats16>::all;

}  // namespace lockstep::cpu
