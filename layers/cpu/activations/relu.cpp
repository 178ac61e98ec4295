#include "layers/activations/relu.h"

#include "layers/cpu/activations/relu.h"
#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

Kernel make(const ReluOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    relu(args.in[0].as(), args.out[0].as(), n);
  }};
}

Kernel make(const ReluGradOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    const float* y = args.in[0].as();
    const float* dy = args.in[1].as();
    float* dx = args.out[0].as();
    parallel_for(n, 12, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
        const V zero = broadcast<V>(0);
        store(dx + begin + i, load<V>(y + begin + i) > zero ? load<V>(dy + begin + i) : zero);
      });
    });
  }};
}

}  // namespace lockstep::cpu
