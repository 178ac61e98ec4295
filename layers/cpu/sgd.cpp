#include "layers/optimizers/sgd.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/update.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const SgdOp& op, const Signature& signature) {
  const int64_t n = signature.in[0].shape.elements();
  return {.run = [n, momentum = op.momentum, nesterov = op.nesterov, decay = op.weight_decay, scaled = op.scaled](
                     Stream&, const Args& args) {
    if (skipped(args, scaled)) return;
    const float *p = args.in[0].as(), *sum = args.in[1].as();
    float* new_p = args.out[0].as();
    const auto& step = *args.in[2].as<StepState>();
    const float lr = step.lr, count = divisor(args, scaled);
    const auto gradient = [=]<class V>(V, int64_t i) {
      return load<V>(sum + i) / broadcast<V>(count) + broadcast<V>(decay) * load<V>(p + i);
    };
    if (!(momentum > 0)) {
      parallel_for(n, 12, [=](int64_t begin, int64_t end) {
        for_each_vec(end - begin, [=]<class V>(V v, int64_t k) {
          const int64_t i = begin + k;
          store(new_p + i, load<V>(p + i) - broadcast<V>(lr) * gradient(v, i));
        });
      });
      return;
    }
    const float* velocity = args.in[3].as();
    float* new_velocity = args.out[1].as();
    parallel_for(n, 20, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V zero, int64_t k) {
        const int64_t i = begin + k;
        const V g = gradient(zero, i), m = broadcast<V>(momentum), v = m * load<V>(velocity + i) + g;
        const V direction = nesterov ? g + m * v : v;
        store(new_p + i, load<V>(p + i) - broadcast<V>(lr) * direction);
        store(new_velocity + i, v);
      });
    });
  }};
}

}  // namespace lockstep::cpu
