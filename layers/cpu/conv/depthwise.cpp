#include "layers/cpu/conv/engines.h"

#include <algorithm>

#include "layers/cpu/columns.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"

namespace lockstep::cpu {

namespace {

/// x [n,h,w,c], dy [n,p,q,c], dw [c,r,s].
struct Sizes {
  Conv2dAttributes conv;
  int64_t n, h, w, p, q, c;
};

/// The outputs [begin, end) of `outputs` along rows (d = 0) or columns (d = 1) whose window's pixel `place` lies inside
/// an image of `length`.
Interval inside(const Conv2dAttributes& conv, size_t d, int64_t place, int64_t length, int64_t outputs) {
  const int64_t first = place * conv.dilation[d] - conv.pad_before[d], stride = conv.stride[d];
  const int64_t begin = first < 0 ? (stride - 1 - first) / stride : 0;
  const int64_t end = first >= length ? 0 : (length - 1 - first) / stride + 1;
  return {std::min(begin, outputs), std::min(end, outputs)};
}

/// Of the window's row r, the columns from `first` on, for K vectors of channels from c on.
template <class V, int Columns, int K>
[[gnu::always_inline]] inline void sum_columns_of(const Sizes& s, const float* x, const float* dy, int64_t r,
                                                  int64_t first, int64_t c, float* dw) {
  const Interval rows = inside(s.conv, 0, r, s.h, s.p);
  Interval of[Columns], all{0, s.q};  // all: outputs for which every column is inside
#pragma GCC unroll 8
  for (int k = 0; k < Columns; ++k) {
    of[k] = inside(s.conv, 1, first + k, s.w, s.q);
    all = {std::max(all.begin, of[k].begin), std::min(all.end, of[k].end)};
  }
  all.begin = std::min(all.begin, s.q);
  all.end = std::max(all.begin, all.end);
  const int64_t step = s.conv.stride[1] * s.c, apart = s.conv.dilation[1] * s.c;
  V total[Columns][K] = {};
  for (int64_t image = 0; image < s.n; ++image) {
    // Images are summed apart, so that sums stay short.
    V sum[Columns][K] = {};
    for (int64_t p = rows.begin; p < rows.end; ++p) {
      const int64_t line = p * s.conv.stride[0] + r * s.conv.dilation[0] - s.conv.pad_before[0];
      const float* from =
          x + (image * s.h + line) * s.w * s.c + c + (first * s.conv.dilation[1] - s.conv.pad_before[1]) * s.c;
      const float* gradient = dy + (image * s.p + p) * s.q * s.c + c;
      const auto add = [&](int64_t q, auto takes) {
#pragma GCC unroll 2
        for (int v = 0; v < K; ++v) {
          const V d = load<V>(gradient + q * s.c + v * width<V>);
#pragma GCC unroll 8
          for (int k = 0; k < Columns; ++k)
            if (takes(k)) sum[k][v] += load<V>(from + q * step + k * apart + v * width<V>) * d;
        }
      };
      const auto border = [&](int64_t q) { add(q, [&](int k) { return q >= of[k].begin && q < of[k].end; }); };
      for (int64_t q = 0; q < all.begin; ++q) border(q);
      for (int64_t q = all.begin; q < all.end; ++q) add(q, [](int) { return true; });
      for (int64_t q = all.end; q < s.q; ++q) border(q);
    }
    for (int k = 0; k < Columns; ++k)
      for (int v = 0; v < K; ++v) total[k][v] += sum[k][v];
  }
  for (int k = 0; k < Columns; ++k) {
    float values[K * width<V>];
    for (int v = 0; v < K; ++v) store(values + v * width<V>, total[k][v]);
    for (int i = 0; i < K * width<V>; ++i)
      dw[((c + i) * s.conv.kernel[0] + r) * s.conv.kernel[1] + first + k] = values[i];
  }
}

/// All of dw for K vectors of channels from c on.
template <class V, int K>
void sum_channels(const Sizes& s, const float* x, const float* dy, int64_t c, float* dw) {
  for (int64_t r = 0; r < s.conv.kernel[0]; ++r) {
    int64_t k = 0;
    for (; k + 5 <= s.conv.kernel[1]; k += 5) sum_columns_of<V, 5, K>(s, x, dy, r, k, c, dw);
    for (; k + 3 <= s.conv.kernel[1]; k += 3) sum_columns_of<V, 3, K>(s, x, dy, r, k, c, dw);
    for (; k < s.conv.kernel[1]; ++k) sum_columns_of<V, 1, K>(s, x, dy, r, k, c, dw);
  }
}

}  // namespace

bool suits_depthwise(const Convolution& c) {
  const int64_t groups = c.conv.groups;
  const bool of_depthwise = groups > 1 && c.x[3] == groups && c.y[3] == groups;
  return c.pass == Convolution::Pass::weight_grad && of_depthwise &&
         !(c.conv.kernel == Size2{3, 3} && c.conv.dilation == Size2{1, 1});
}

Kernel depthwise(const Convolution& convolution) {
  const Shape x = convolution.x, y = convolution.y;
  const Sizes s{convolution.conv, x[0], x[1], x[2], y[1], y[2], x[3]};
  return {.workspace = convolution.bias ? column_sums_workspace(s.c) : 0,
          .run = [s, with_bias = convolution.bias](Stream&, const Args& args) {
            const float *from = args.in[0].as(), *dy = args.in[1].as();
            float* dw = args.out[0].as();
            // Two vectors are a line of the cache. Each channel is summed by itself, so that it does not matter where
            // the channels are cut.
            const int64_t pieces = (s.c + 15) / 16;
            parallel_for(pieces, s.n * (s.h * s.w + s.p * s.q) * 64, [&](int64_t begin, int64_t end) {
              int64_t c = begin * 16;
              const int64_t last = std::min(end * 16, s.c);
              for (; c + 16 <= last; c += 16) sum_channels<Vec, 2>(s, from, dy, c, dw);
              for (; c + 8 <= last; c += 8) sum_channels<Vec, 1>(s, from, dy, c, dw);
              for (; c < last; ++c) sum_channels<float, 1>(s, from, dy, c, dw);
            });
            if (with_bias) column_sums(dy, s.n * s.p * s.q, s.c, args.out[1].as(), args.workspace);
          }};
}

}  // namespace lockstep::cpu
