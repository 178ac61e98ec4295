#include "layers/optimizers/adam.h"

#include "layers/cuda/context.h"
#include "layers/cuda/optimizer.cuh"

namespace lockstep::cuda {

namespace {

struct AdamOptions {
  float beta_1, beta_2, epsilon, decay;
};

/// Outputs may be the inputs.
struct AdamArrays {
  const float *p, *sum, *m, *v;
  float *new_p, *new_m, *new_v;
};

template <int Size>
__global__ void adam_kernel(AdamArrays arrays, StepInputs step, AdamOptions options, int64_t n) {
  // Powers in double take long: one thread each, while the others' loads are on their way.
  __shared__ float shared_rate, shared_correction;
  const auto t = static_cast<double>(step.state->step) + 1;
  if (threadIdx.x == 0) shared_rate = static_cast<float>(double{step.state->lr} / (1 - pow(double{options.beta_1}, t)));
  if (threadIdx.x == 32) shared_correction = static_cast<float>(1 / (1 - pow(double{options.beta_2}, t)));
  const int64_t first = first_of_pack<Size>();
  auto p = load_pack<Size>(arrays.p, first, n), m = load_pack<Size>(arrays.m, first, n),
       v = load_pack<Size>(arrays.v, first, n);
  const auto sum = load_pack<Size>(arrays.sum, first, n);
  __syncthreads();
  if (first >= n) return;
  if (!step.skipped()) {
    const float rate = shared_rate, correction = shared_correction, divisor = step.divisor();
    const float beta_1 = options.beta_1, beta_2 = options.beta_2;
#pragma unroll
    for (int i = 0; i < Size; ++i) {
      const float g = sum.v[i] / divisor + options.decay * p.v[i];
      m.v[i] = beta_1 * m.v[i] + (1 - beta_1) * g;
      v.v[i] = beta_2 * v.v[i] + (1 - beta_2) * g * g;
      const float deviation = sqrtf(v.v[i] * correction) + options.epsilon;
      p.v[i] = p.v[i] - rate * m.v[i] / deviation;
    }
  }
  store_pack<Size>(arrays.new_p, p, first, n);
  store_pack<Size>(arrays.new_m, m, first, n);
  store_pack<Size>(arrays.new_v, v, first, n);
}

}  // namespace

Kernel make(const AdamOp& op, const Signature& signature, const SharedContext&) {
  const AdamOptions options{op.beta_1, op.beta_2, op.epsilon, op.weight_decay};
  return {.run = [n = signature.in[0].shape.elements(), options, scaled = op.scaled](Stream& stream, const Args& args) {
    if (n == 0) return;
    const AdamArrays arrays{args.in[0].as(),  args.in[1].as(),  args.in[3].as(), args.in[4].as(),
                            args.out[0].as(), args.out[1].as(), args.out[2].as()};
    with_pack_size({arrays.p, arrays.sum, arrays.m, arrays.v, arrays.new_p, arrays.new_m, arrays.new_v},
                   [&]<int Size>(std::integral_constant<int, Size>) {
                     launch(stream, {blocks_for((n + Size - 1) / Size)}, adam_kernel<Size>, arrays,
                            StepInputs(args, scaled), options, n);
                   });
  }};
}

}  // namespace lockstep::cuda
