#include "layers/merging/multiply.h"

#include "layers/cpu/columns.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

Kernel make(const MultiplyOp& op, const Signature& signature) {
  // Without a gate, the tensor is one pixel of one image; with one, each image has its own row of factors.
  const Shape& a = signature.in[0].shape;
  const int64_t n = a.elements(), channels = op.gated ? a[3] : n, pixels = op.gated ? a[1] * a[2] : 1;
  const auto product = [](const Args& args, int64_t at, int64_t factor, int64_t count) {
    const float* from = args.in[0].as() + at;
    const float* by = args.in[1].as() + factor;
    float* y = args.out[0].as() + at;
    for_each_vec(count, [=]<class V>(V, int64_t i) { store(y + i, load<V>(from + i) * load<V>(by + i)); });
  };
  if (!op.gated)
    return {.run = [=](Stream&, const Args& args) {
      parallel_for(n, 12, [&](int64_t begin, int64_t end) { product(args, begin, begin, end - begin); });
    }};
  return {.run = [=, rows = a[0] * pixels](Stream&, const Args& args) {
    parallel_for(rows, channels * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) product(args, row * channels, row / pixels * channels, channels);
    });
  }};
}

Kernel make(const GateGradOp&, const Signature& signature) {
  const Shape& a = signature.in[0].shape;
  return {.run = [images = a[0], pixels = a[1] * a[2], channels = a[3]](Stream&, const Args& args) {
    parallel_for(images, pixels * channels * 8, [&](int64_t begin, int64_t end) {
      for (int64_t image = begin; image < end; ++image) {
        const int64_t first = image * pixels * channels;
        const float *x = args.in[0].as() + first, *dy = args.in[1].as() + first;
        float* const sums[]{args.out[0].as() + image * channels};
        sum_columns<1>(
            pixels, channels,
            [=]<class V>(V, int64_t pixel, int64_t c, V(&term)[1]) {
              const int64_t at = pixel * channels + c;
              term[0] = load<V>(x + at) * load<V>(dy + at);
            },
            sums);
      }
    });
  }};
}

}  // namespace lockstep::cpu
