#include "layers/optimizers/moving_average.h"

#include <algorithm>

#include "layers/cpu/kernels.h"
#include "layers/normalization/moments.h"

namespace lockstep::cpu {

Kernel make(const MovingAverageOp& op, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements(), momentum = op.momentum](Stream&, const Args& args) {
    const float *mean = args.in[0].as(), *variance = args.in[1].as();
    const auto* batch = args.in[2].as<Moments>();
    float *new_mean = args.out[0].as(), *new_variance = args.out[1].as();
    for (int64_t c = 0; c < n; ++c) {
      const float unbiased = batch[c].squares / std::max(batch[c].count - 1, 1.0F);
      new_mean[c] = momentum * mean[c] + (1 - momentum) * batch[c].mean;
      new_variance[c] = momentum * variance[c] + (1 - momentum) * unbiased;
    }
  }};
}

}  // namespace lockstep::cpu
