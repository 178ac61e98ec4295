#include "layers/cpu/conv/winograd_tiles_loops.h"

namespace lockstep::cpu {

using Floats8 = float __attribute__((vector_size(32)));
const WinogradTiles winograd_tiles_8 = TileLoops<Floats8>::all;

}  // namespace lockstep::cpu
