// Layer norm: the channels of each pixel, a row of memory, for itself. For the kernels of GroupNormOp.
#pragma once

#include <cmath>

#include "core/graph/kernel.h"
#include "layers/cpu/column_totals.h"

namespace lockstep::cpu::layer_norm {

/// The sum of terms(V{}, i) for i below n, in an order that depends on n alone.
template <class Terms>
double sum_row(int64_t n, Terms terms) {
  Vec a{}, b{};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    a += terms(Vec{}, i);
    b += terms(Vec{}, i + 8);
  }
  if (i + 8 <= n) {
    a += terms(Vec{}, i);
    i += 8;
  }
  a += b;
  double sum = 0;
  for (int k = 0; k < 8; ++k) sum += double{a[k]};
  for (; i < n; ++i) sum += double{terms(float{}, i)};
  return sum;
}

struct Forward {
  const float *x, *gamma, *beta;
  float *y, *mean, *inverse;
};

inline void forward(const Forward& a, int64_t rows, int64_t channels, float epsilon) {
  const auto n = static_cast<double>(channels);
  parallel_for(rows, channels * 16, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* x = a.x + row * channels;
      float* y = a.y + row * channels;
      const auto mean =
          static_cast<float>(sum_row(channels, [=]<class V>(V, int64_t i) { return load<V>(x + i); }) / n);
      const double squares = sum_row(channels, [=]<class V>(V, int64_t i) {
        const V off = load<V>(x + i) - broadcast<V>(mean);
        return off * off;
      });
      const auto inverse = static_cast<float>(1 / std::sqrt(squares / n + double{epsilon}));
      a.mean[row] = mean;
      a.inverse[row] = inverse;
      for_each_vec(channels, [=]<class V>(V, int64_t c) {
        const V normal = (load<V>(x + c) - broadcast<V>(mean)) * broadcast<V>(inverse);
        store(y + c, normal * load<V>(a.gamma + c) + load<V>(a.beta + c));
      });
    }
  });
}

struct Backward {
  const float *x, *dy, *gamma, *mean, *inverse;
  float *dx, *dgamma, *dbeta;
};

inline void backward(const Backward& a, const RowBlocks& blocks, float* workspace) {
  const int64_t channels = blocks.channels;
  parallel_for(blocks.rows, channels * 20, [=](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *x = a.x + row * channels, *dy = a.dy + row * channels;
      float* dx = a.dx + row * channels;
      const float mean = a.mean[row], inverse = a.inverse[row];
      const auto g = [=]<class V>(V, int64_t i) { return load<V>(dy + i) * load<V>(a.gamma + i); };
      const auto normal = [=]<class V>(V, int64_t i) {
        return (load<V>(x + i) - broadcast<V>(mean)) * broadcast<V>(inverse);
      };
      const auto share = [&](double sum) { return static_cast<float>(sum / static_cast<double>(channels)); };
      const float offset = share(sum_row(channels, g));
      const float slope = share(sum_row(channels, [=]<class V>(V v, int64_t i) { return g(v, i) * normal(v, i); }));
      for_each_vec(channels, [=]<class V>(V v, int64_t i) {
        store(dx + i, broadcast<V>(inverse) * (g(v, i) - broadcast<V>(offset) - normal(v, i) * broadcast<V>(slope)));
      });
    }
  });
  column_totals<2>(
      blocks, workspace, channels * 8,
      [=]<class V>(V, int64_t row, int64_t c, V(&term)[2]) {
        const int64_t at = row * channels + c;
        term[0] = load<V>(a.dy + at);
        term[1] = term[0] * ((load<V>(a.x + at) - broadcast<V>(a.mean[row])) * broadcast<V>(a.inverse[row]));
      },
      [&](int64_t c, const double(&totals)[2]) {
        a.dbeta[c] = static_cast<float>(totals[0]);
        a.dgamma[c] = static_cast<float>(totals[1]);
      });
}

}  // namespace lockstep::cpu::layer_norm
