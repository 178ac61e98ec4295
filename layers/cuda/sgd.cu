#include "layers/optimizers/sgd.h"

#include "layers/cuda/context.h"
#include "layers/cuda/optimizer.cuh"

namespace lockstep::cuda {

namespace {

struct SgdOptions {
  float momentum, decay;
  bool nesterov;
};

/// Outputs may be the inputs. The velocities are null where there is no momentum.
struct SgdArrays {
  const float *p, *sum, *velocity;
  float *new_p, *new_velocity;
};

template <int Size, bool Momentum>
__global__ void sgd_kernel(SgdArrays arrays, StepInputs step, SgdOptions options, int64_t n) {
  const int64_t first = first_of_pack<Size>();
  if (first >= n) return;
  auto p = load_pack<Size>(arrays.p, first, n);
  Pack<float, Size> velocity{};
  if constexpr (Momentum) velocity = load_pack<Size>(arrays.velocity, first, n);
  if (!step.skipped()) {
    const auto sum = load_pack<Size>(arrays.sum, first, n);
    const float lr = step.state->lr, divisor = step.divisor(), m = options.momentum;
#pragma unroll
    for (int i = 0; i < Size; ++i) {
      const float g = sum.v[i] / divisor + options.decay * p.v[i];
      float direction = g;
      if constexpr (Momentum) {
        const float v = m * velocity.v[i] + g;
        direction = options.nesterov ? g + m * v : v;
        velocity.v[i] = v;
      }
      p.v[i] = p.v[i] - lr * direction;
    }
  }
  store_pack<Size>(arrays.new_p, p, first, n);
  if constexpr (Momentum) store_pack<Size>(arrays.new_velocity, velocity, first, n);
}

}  // namespace

Kernel make(const SgdOp& op, const Signature& signature, const SharedContext&) {
  const SgdOptions options{op.momentum, op.weight_decay, op.nesterov};
  return {.run = [n = signature.in[0].shape.elements(), options, scaled = op.scaled](Stream& stream, const Args& args) {
    if (n == 0) return;
    const bool momentum = options.momentum > 0;
    const SgdArrays arrays{args.in[0].as(), args.in[1].as(), momentum ? args.in[3].as() : nullptr, args.out[0].as(),
                           momentum ? args.out[1].as() : nullptr};
    with_pack_size({arrays.p, arrays.sum, arrays.velocity, arrays.new_p, arrays.new_velocity},
                   [&]<int Size>(std::integral_constant<int, Size>) {
                     launch(stream, {blocks_for((n + Size - 1) / Size)},
                            momentum ? sgd_kernel<Size, true> : sgd_kernel<Size, false>, arrays,
                            StepInputs(args, scaled), options, n);
                   });
  }};
}

}  // namespace lockstep::cuda
