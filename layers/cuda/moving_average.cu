#include "layers/optimizers/moving_average.h"

#include "core/step_state.h"
#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"

namespace lockstep::cuda {

namespace {

/// A thread an element: there are only as many as channels.
__global__ void moving_average_kernel(const float* moving, const float* sum, const StepState* step, float* out,
                                      float momentum, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float mean = sum[i] / static_cast<float>(step->samples);
  out[i] = momentum * moving[i] + (1 - momentum) * mean;
}

}  // namespace

Kernel make(const MovingAverageOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements(), momentum = op.momentum](Stream& stream, const Args& args) {
    if (n == 0) return;
    launch(stream, {blocks_for(n)}, moving_average_kernel, args.in[0].as(), args.in[1].as(), args.in[2].as<StepState>(),
           args.out[0].as(), momentum, n);
  }};
}

}  // namespace lockstep::cuda
