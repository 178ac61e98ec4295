#include "layers/optimizers/moving_average.h"

#include "layers/cuda/context.h"
#include "layers/cuda/device.cuh"
#include "layers/normalization/moments.h"

namespace lockstep::cuda {

namespace {

struct Moving {
  const float *mean, *variance;
  const Moments* batch;
  float *new_mean, *new_variance;
  float momentum;
};

/// A thread a channel.
__global__ void moving_average_kernel(Moving m, int64_t n) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= n) return;
  const float unbiased = m.batch[c].squares / max(m.batch[c].count - 1, 1.0F);
  m.new_mean[c] = m.momentum * m.mean[c] + (1 - m.momentum) * m.batch[c].mean;
  m.new_variance[c] = m.momentum * m.variance[c] + (1 - m.momentum) * unbiased;
}

}  // namespace

Kernel make(const MovingAverageOp& op, const Signature& signature, const SharedContext&) {
  return {.run = [n = signature.in[0].shape.elements(), momentum = op.momentum](Stream& stream, const Args& args) {
    if (n == 0) return;
    const Moving moving{args.in[0].as(),  args.in[1].as(),  args.in[2].as<const Moments>(),
                        args.out[0].as(), args.out[1].as(), momentum};
    launch(stream, {blocks_for(n)}, moving_average_kernel, moving, n);
  }};
}

}  // namespace lockstep::cuda
