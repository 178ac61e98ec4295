#include "layers/activations/formulas.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/math.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

struct Math {
  template <class V>
  static Logistic<V> logistic(V x) {
    return Logistic<V>(x);
  }
  template <class V>
  static Normal<V> normal(V x) {
    return Normal<V>(x);
  }
  template <class V>
  static V tanh(V x) {
    return hyperbolic_tangent(x);
  }
  template <class V>
  static V expm1(V x) {
    return exponential_minus_1(x);
  }
};

/// What one element counts for in parallel_for: an exponential takes as long as moving some 32 bytes.
constexpr int64_t bytes_per_element = 32;

}  // namespace

Kernel make(const ActivationOp& op, const Signature& signature) {
  return formulas::with_formula(op.curve, [n = signature.in[0].shape.elements()](auto formula) -> Kernel {
    return {.run = [=](Stream&, const Args& args) {
      const float* x = args.in[0].as();
      float* y = args.out[0].as();
      parallel_for(n, bytes_per_element, [=](int64_t begin, int64_t end) {
        for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
          store(y + begin + i, formula.template value<Math>(load<V>(x + begin + i)));
        });
      });
    }};
  });
}

Kernel make(const ActivationGradOp& op, const Signature& signature) {
  return formulas::with_formula(op.curve, [n = signature.in[0].shape.elements()](auto formula) -> Kernel {
    return {.run = [=](Stream&, const Args& args) {
      const float* kept = args.in[0].as();
      const float* dy = args.in[1].as();
      float* dx = args.out[0].as();
      parallel_for(n, bytes_per_element, [=](int64_t begin, int64_t end) {
        for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
          store(dx + begin + i, load<V>(dy + begin + i) * formula.template slope<Math>(load<V>(kept + begin + i)));
        });
      });
    }};
  });
}

}  // namespace lockstep::cpu
