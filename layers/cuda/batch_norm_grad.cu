#include "layers/batch_norm.h"
#include "layers/cuda/batch_norm.cuh"

namespace lockstep::cuda {

using namespace norm;

namespace {

struct Gradient {
  const void *x, *y, *dy;
  void *dx, *dresidual;
  uint8_t* mask;  // a bit an element and a byte a pack: where y > 0
  const float* mean;
};

/// Sums of g and g * (x - mean) of each part: partial[part, 2, c], where g is dy behind relu. Keeps g as the residual's
/// gradient, or where it passed as a mask, so that the next pass need not read y again.
template <class T, int Size, bool with_relu, bool add>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    gradient_sums_kernel(Columns s, Gradient a, Samples samples, float* partial) {
  constexpr int unroll = 2;
  const Place at(s, blockIdx.x, samples.valid(s));
  if (at.part_rows == 0) return;
  const int64_t first = at.first<Size>(s);
  float sums[2][Size] = {}, mean[Size] = {};
  if (at.works) load_channels(mean, a.mean + at.pack * Size);
  for (int row = at.row; row < at.end; row += unroll * s.height) {
    Pack<T, Size> x[unroll], y[unroll], dy[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= at.end) continue;
      x[i] = load_pack<T, Size>(static_cast<const T*>(a.x) + place);
      dy[i] = load_pack<T, Size>(static_cast<const T*>(a.dy) + place);
      if constexpr (with_relu) y[i] = load_pack<T, Size>(static_cast<const T*>(a.y) + place);
    }
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= at.end) continue;
      float g[Size];
      unsigned bits = 0;
#pragma unroll
      for (int k = 0; k < Size; ++k) {
        g[k] = element(dy[i], k);
        if constexpr (with_relu) {
          const bool passes = element(y[i], k) > 0;
          bits |= static_cast<unsigned>(passes) << k;
          g[k] = passes ? g[k] : 0.0F;
        }
        sums[0][k] += g[k];
        sums[1][k] = fmaf(g[k], element(x[i], k) - mean[k], sums[1][k]);
      }
      if constexpr (add)
        store_pack<T, Size>(static_cast<T*>(a.dresidual) + place, g);
      else if constexpr (with_relu)
        a.mask[(at.begin + here) * s.packs + at.pack] = static_cast<uint8_t>(bits);
    }
  }
  sum_rows<Size, 2>(s, at.row, sums);
  if (!at.holds_sums()) return;
  partial += at.result<Size>(s, 2);
  store_channels(partial, sums[0]);
  store_channels(partial + s.channels, sums[1]);
}

/// By channel: gamma over the deviation; the mean of g; the mean of g * normalised x, over the deviation.
struct Slopes {
  float *scale, *offset, *slope;
};

__global__ void __launch_bounds__(combine_threads)
    slopes_kernel(Columns s, const float* partial, Samples samples, const float* gamma, const float* inverse,
                  float* dgamma, float* dbeta, Slopes to) {
  const int64_t valid = samples.valid(s);
  combine_parts(
      parts_with(s, valid), s.channels,
      [&](int part, int c, double& g, double& g_deviation) {
        const float* from = partial + int64_t{part} * 2 * s.channels + c;
        g += double{from[0]};
        g_deviation += double{from[s.channels]};
      },
      [&](int c, double g, double g_deviation) {
        const auto count = static_cast<double>(max(valid, int64_t{1}));
        const double inv = double{inverse[c]};
        dgamma[c] = static_cast<float>(g_deviation * inv);
        dbeta[c] = static_cast<float>(g);
        to.scale[c] = gamma[c] * inverse[c];
        to.offset[c] = static_cast<float>(g / count);
        to.slope[c] = static_cast<float>(g_deviation * inv * inv / count);
      });
}

/// dx, which may be x. Rows that do not count get 0, also in the residual's gradient.
template <class T, int Size, bool with_relu, bool add>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    gradient_kernel(Columns s, Gradient a, Samples samples, Slopes by) {
  constexpr int unroll = 2;
  const Place at(s, block_from_last(), s.rows);
  if (!at.works) return;
  const int valid = Samples::in_part(at, samples.valid(s)), c = at.pack * Size;
  const int64_t first = at.first<Size>(s);
  float mean[Size], scale[Size], offset[Size], slope[Size];
  load_channels(mean, a.mean + c);
  load_channels(scale, by.scale + c);
  load_channels(offset, by.offset + c);
  load_channels(slope, by.slope + c);
  const void* const gradient = add ? a.dresidual : a.dy;
  backwards<unroll>(s, at, [&](int row) {
    Pack<T, Size> x[unroll], g[unroll];
    unsigned bits[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= valid) continue;
      x[i] = load_pack<T, Size>(static_cast<const T*>(a.x) + place);
      g[i] = load_pack<T, Size>(static_cast<const T*>(gradient) + place);
      if constexpr (with_relu && !add) bits[i] = a.mask[(at.begin + here) * s.packs + at.pack];
    }
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= at.end) continue;
      float dx[Size] = {};
      if (here < valid) {
#pragma unroll
        for (int k = 0; k < Size; ++k) {
          float passed = element(g[i], k);
          if constexpr (with_relu && !add) passed = (bits[i] >> k & 1) != 0 ? passed : 0.0F;
          const float deviation = element(x[i], k) - mean[k];
          dx[k] = scale[k] * fmaf(-deviation, slope[k], passed - offset[k]);
        }
      } else if constexpr (add) {
        store_pack<T, Size>(static_cast<T*>(a.dresidual) + place, dx);
      }
      store_pack<T, Size>(static_cast<T*>(a.dx) + place, dx);
    }
  });
}

}  // namespace

Kernel make(const BatchNormGradOp& op, const Signature& signature, const SharedContext& context) {
  const size_t after_y = op.relu ? 2 : 1;
  const Plan plan(signature.in[0], signature.in[after_y + 4].shape[0], context->multiprocessors);
  return {.workspace = plan.workspace(3, op.relu && !op.add),
          .run = [plan, after_y, with_relu = op.relu, add = op.add](Stream& stream, const Args& args) {
            const Columns& s = plan.columns;
            if (s.channels == 0) return;
            const Samples samples = plan.samples(args, after_y + 4);
            const float *gamma = args.in[after_y + 1].as(), *inverse = args.in[after_y + 3].as();
            const Gradient a{args.in[0].data,          with_relu ? args.in[1].data : nullptr, args.in[after_y].data,
                             args.out[0].data,         add ? args.out[3].data : nullptr,      plan.mask(args, 3),
                             args.in[after_y + 2].as()};
            const Slopes slopes{plan.kept(args, 0), plan.kept(args, 1), plan.kept(args, 2)};
            float* const partial = plan.partial(args, 3);
            with_variant(plan, with_relu, add, [&](auto type, auto size, auto relu_too, auto add_too) {
              using T = decltype(type);
              if (!s.empty())
                launch(stream, s.grid(), gradient_sums_kernel<T, size.value, relu_too.value, add_too.value>, s, a,
                       samples, partial);
              launch(stream, combine_grid(s.channels), slopes_kernel, s, partial, samples, gamma, inverse,
                     args.out[1].as(), args.out[2].as(), slopes);
              if (!s.empty())
                launch(stream, s.grid(), gradient_kernel<T, size.value, relu_too.value, add_too.value>, s, a, samples,
                       slopes);
            });
          }};
}

}  // namespace lockstep::cuda
