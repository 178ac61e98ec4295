#include "layers/cpu/conv/engines.h"

#include <algorithm>

#include "core/plan/memory.h"
#include "layers/cpu/columns.h"
#include "layers/cpu/gemm/tile_gemm.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

/// One image with its padding, so that every window lies inside.
struct Padded {
  Padded(const Conv2dAttributes& conv, const Shape& x, const Shape& y)
      : before(conv.pad_before), height(x[1]), width(x[2]), channels(x[3]) {
    rows = std::max((y[1] - 1) * conv.stride[0] + conv.kernel[0], before[0] + height);
    columns = std::max((y[2] - 1) * conv.stride[1] + conv.kernel[1], before[1] + width);
  }
  int64_t floats() const { return rows * columns * channels; }
  /// Copies the pixels between the borders.
  void fill(const float* image, float* to) const {
    parallel_for(height, width * channels * 8, [=, this](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        std::copy_n(image + row * width * channels, width * channels,
                    to + ((row + before[0]) * columns + before[1]) * channels);
    });
  }

  Size2 before;
  int64_t height, width, channels, rows = 0, columns = 0;
};

}  // namespace

bool suits_few_channels(const Convolution& c) {
  const Size2 one{1, 1};
  constexpr int64_t most_channels = 4;
  return c.pass == Convolution::Pass::weight_grad && c.conv.groups == 1 && c.conv.dilation == one &&
         c.x[3] <= most_channels && c.w[0] % panel == 0;
}

Kernel few_channels(const Convolution& c) {
  const Conv2dAttributes conv = c.conv;
  const Shape x = c.x, y = c.y;
  const Padded padded(conv, x, y);
  const int64_t filters = y[3], across = conv.kernel[1] * x[3];  // of a row of a kernel, its pixels' channels
  const int64_t panels = filters / panel, kernels = panels * conv.kernel[0];
  const size_t image_bytes = aligned(static_cast<size_t>(padded.floats()) * sizeof(float));
  const size_t sums_bytes = aligned(static_cast<size_t>(kernels * across * panel) * sizeof(float));
  const auto run = [=, bias = c.bias](Stream&, const Args& args) {
    float* image = reinterpret_cast<float*>(args.workspace);
    float* sums = reinterpret_cast<float*>(args.workspace + image_bytes);  // [K / 16][R][S * C][16]
    const float* dy = args.in[1].as();
    std::fill_n(image, padded.floats(), 0.0F);
    std::fill_n(sums, kernels * across * panel, 0.0F);
    for (int64_t n = 0; n < y[0]; ++n) {
      padded.fill(args.in[0].as() + n * x[1] * x[2] * x[3], image);
      parallel_for(conv.kernel[0], y[1] * y[2] * (across + filters) * 4, [&](int64_t begin, int64_t end) {
        for (int64_t p = 0; p < y[1]; ++p)
          for (int64_t r = begin; r < end; ++r) {
            const int64_t row = p * conv.stride[0] + r;
            tile_gemm().correlate(image + row * padded.columns * padded.channels, conv.stride[1] * padded.channels,
                                  dy + (n * y[1] + p) * y[2] * filters, filters, panel, sums + r * across * panel,
                                  conv.kernel[0] * across * panel, y[2], across, panels);
          }
      });
    }
    float* dw = args.out[0].as();
    for (int64_t k = 0; k < filters; ++k)
      for (int64_t r = 0; r < conv.kernel[0]; ++r)
        for (int64_t i = 0; i < across; ++i)
          dw[(k * conv.kernel[0] + r) * across + i] =
              sums[((k / panel * conv.kernel[0] + r) * across + i) * panel + k % panel];
    if (bias) column_sums(dy, y[0] * y[1] * y[2], filters, args.out[1].as(), args.workspace + image_bytes + sums_bytes);
  };
  return {.workspace = image_bytes + sums_bytes + column_sums_workspace(filters), .run = run};
}

}  // namespace lockstep::cpu
