#include "layers/merging/extremum.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const ExtremumOp& op, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements(), sign = sign_of(op.which)](Stream&, const Args& args) {
    const float *a = args.in[0].as(), *b = args.in[1].as();
    float* y = args.out[0].as();
    parallel_for(n, 12, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
        const V first = load<V>(a + begin + i), second = load<V>(b + begin + i);
        const V larger = sign * first < sign * second ? second : first;  // NaN where the first is
        store(y + begin + i, second == second ? larger : second);
      });
    });
  }};
}

Kernel make(const ExtremumGradOp& op, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements(), sign = sign_of(op.which)](Stream&, const Args& args) {
    const float *a = args.in[0].as(), *b = args.in[1].as(), *dy = args.in[2].as();
    float *da = args.out[0].as(), *db = args.out[1].as();
    parallel_for(n, 20, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
        const V first = sign * load<V>(a + begin + i), second = sign * load<V>(b + begin + i);
        const V gradient = load<V>(dy + begin + i), zero = broadcast<V>(0);
        store(da + begin + i, first >= second ? gradient : zero);
        store(db + begin + i, first >= second ? zero : gradient);
      });
    });
  }};
}

}  // namespace lockstep::cpu
