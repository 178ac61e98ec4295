#include "layers/reshaping/permute.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

Kernel make(const PermuteOp& op, const Signature& signature) {
  const Shape y = signature.out[0].shape;
  const int last = y.rank() - 1;
  const int64_t width = y[last], rows = width > 0 ? y.elements() / width : 0;
  return {.run = [=, strides = op.strides(signature.in[0].shape)](Stream&, const Args& args) {
    const float* x = args.in[0].as();
    float* to = args.out[0].as();
    const int64_t step = strides.back();
    parallel_for(rows, width * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        int64_t from = 0, left = row;
        for (int d = last - 1; d >= 0; --d) {
          from += left % y[d] * strides[static_cast<size_t>(d)];
          left /= y[d];
        }
        for (int64_t i = 0; i < width; ++i) to[row * width + i] = x[from + i * step];
      }
    });
  }};
}

}  // namespace lockstep::cpu
