#include "layers/optimizers/moving_average.h"

#include "core/step_state.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const MovingAverageOp& op, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements(), momentum = op.momentum](Stream&, const Args& args) {
    const float *moving = args.in[0].as(), *sum = args.in[1].as();
    float* out = args.out[0].as();
    const float samples = static_cast<float>(args.in[2].as<StepState>()->samples);
    for_each_vec(n, [=]<class V>(V, int64_t i) {
      const V mean = load<V>(sum + i) / broadcast<V>(samples);
      store(out + i, broadcast<V>(momentum) * load<V>(moving + i) + broadcast<V>(1 - momentum) * mean);
    });
  }};
}

}  // namespace lockstep::cpu
