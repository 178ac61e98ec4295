#include "layers/merging/add.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

Kernel make(const AddOp&, const Signature& signature) {
  return {.run = [n = signature.in[0].shape.elements()](Stream&, const Args& args) {
    const float* a = args.in[0].as();
    const float* b = args.in[1].as();
    float* y = args.out[0].as();
    parallel_for(n, 12, [=](int64_t begin, int64_t end) {
      for_each_vec(end - begin, [=]<class V>(V, int64_t i) {
        store(y + begin + i, load<V>(a + begin + i) + load<V>(b + begin + i));
      });
    });
  }};
}

}  // namespace lockstep::cpu
