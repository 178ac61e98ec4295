// Takes the place of cuda.cpp where no CUDA toolkit was found.
#include "core/cuda/cuda.h"

namespace lockstep {

CudaStatus cuda_status() { return {.text = "built without"}; }

}  // namespace lockstep
