// Takes the place of cuda.cpp where no CUDA toolkit was found.
#include "core/cuda/cuda.h"

namespace lockstep {

CudaStatus cuda_status() { return {.runtime = {}, .devices = 0, .text = "built without"}; }

}  // namespace lockstep
