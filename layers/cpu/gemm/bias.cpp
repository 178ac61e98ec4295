#include "layers/linear/bias.h"

#include "layers/cpu/columns.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

Kernel make(const BiasOp&, const Signature& signature) {
  const int64_t channels = signature.in[1].shape[0], rows = signature.in[0].shape.elements() / channels;
  return {.run = [=](Stream&, const Args& args) {
    const float* bias = args.in[1].as();
    parallel_for(rows, channels * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const float* x = args.in[0].as() + row * channels;
        float* y = args.out[0].as() + row * channels;
        for_each_vec(channels, [=]<class V>(V, int64_t c) { store(y + c, load<V>(x + c) + load<V>(bias + c)); });
      }
    });
  }};
}

Kernel make(const BiasGradOp&, const Signature& signature) {
  const int64_t channels = signature.out[0].shape[0], rows = signature.in[0].shape.elements() / channels;
  return {.workspace = column_sums_workspace(channels), .run = [=](Stream&, const Args& args) {
            column_sums(args.in[0].as(), rows, channels, args.out[0].as(), args.workspace);
          }};
}

}  // namespace lockstep::cpu
