#include "layers/optimizers/adam.h"

#include <cmath>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/update.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// Correctly rounded in both forms.
template <class V>
[[gnu::always_inline]] inline V square_root(V v) {
  if constexpr (std::is_same_v<V, Vec>) {
    float elements[width<V>];
    store(elements, v);
    for (float& element : elements) element = std::sqrt(element);
    return load<V>(elements);
  } else {
    return std::sqrt(v);
  }
}

}  // namespace

Kernel make(const AdamOp& op, const Signature& signature) {
  const int64_t n = signature.in[0].shape.elements();
  return {.run = [n, beta_1 = op.beta_1, beta_2 = op.beta_2, epsilon = op.epsilon, decay = op.weight_decay,
                  scaled = op.scaled](Stream&, const Args& args) {
    if (skipped(args, scaled)) return;
    const float *p = args.in[0].as(), *sum = args.in[1].as(), *m = args.in[3].as(), *v = args.in[4].as();
    float *new_p = args.out[0].as(), *new_m = args.out[1].as(), *new_v = args.out[2].as();
    const auto& step = *args.in[2].as<StepState>();
    const auto t = static_cast<double>(step.step) + 1;
    const float count = divisor(args, scaled);
    const auto rate = static_cast<float>(double{step.lr} / (1 - std::pow(double{beta_1}, t)));
    const auto correction = static_cast<float>(1 / (1 - std::pow(double{beta_2}, t)));
    parallel_for(n, 28, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V, int64_t k) {
        const int64_t i = begin + k;
        const V old = load<V>(p + i);
        const V g = load<V>(sum + i) / broadcast<V>(count) + broadcast<V>(decay) * old;
        const V first = broadcast<V>(beta_1) * load<V>(m + i) + broadcast<V>(1 - beta_1) * g;
        const V second = broadcast<V>(beta_2) * load<V>(v + i) + broadcast<V>(1 - beta_2) * g * g;
        const V deviation = square_root(second * broadcast<V>(correction)) + broadcast<V>(epsilon);
        store(new_p + i, old - broadcast<V>(rate) * first / deviation);
        store(new_m + i, first);
        store(new_v + i, second);
      });
    });
  }};
}

}  // namespace lockstep::cpu
