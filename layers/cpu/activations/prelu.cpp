#include "layers/activations/prelu.h"

#include "layers/cpu/column_totals.h"
#include "layers/cpu/kernels.h"

namespace lockstep::cpu {

namespace {

/// x as rows that alpha is one of.
RowBlocks rows_of(const Type& x, const Type& alpha) {
  const int64_t width = alpha.shape.elements();
  return {width > 0 ? x.shape.elements() / width : 0, width};
}

}  // namespace

Kernel make(const PreluOp&, const Signature& signature) {
  return {.run = [s = rows_of(signature.in[0], signature.in[1])](Stream&, const Args& args) {
    const float *x = args.in[0].as(), *alpha = args.in[1].as();
    float* y = args.out[0].as();
    parallel_for(s.rows, s.channels * 8, [=, &s](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for_each_vec(s.channels, [=, &s]<class V>(V, int64_t c) {
          const int64_t at = row * s.channels + c;
          const V v = load<V>(x + at);
          store(y + at, v > broadcast<V>(0) ? v : load<V>(alpha + c) * v);
        });
    });
  }};
}

Kernel make(const PreluGradOp&, const Signature& signature) {
  const RowBlocks s = rows_of(signature.in[0], signature.in[1]);
  return {.workspace = s.workspace(1), .run = [s](Stream&, const Args& args) {
            const float *x = args.in[0].as(), *alpha = args.in[1].as(), *dy = args.in[2].as();
            float *dx = args.out[0].as(), *dalpha = args.out[1].as();
            const auto terms = [=, channels = s.channels]<class V>(V, int64_t row, int64_t c, V(&term)[1]) {
              const int64_t at = row * channels + c;
              const V v = load<V>(x + at), g = load<V>(dy + at), zero = broadcast<V>(0);
              store(dx + at, v > zero ? g : load<V>(alpha + c) * g);
              term[0] = v > zero ? zero : v * g;
            };
            column_totals<1>(s, reinterpret_cast<float*>(args.workspace), s.channels * 12, terms,
                             [=](int64_t c, const double(&total)[1]) { dalpha[c] = static_cast<float>(total[0]); });
          }};
}

}  // namespace lockstep::cpu
