#include "layers/cuda/normalization/batch_norm.cuh"
#include "layers/normalization/batch_norm.h"
#include "layers/normalization/batch_norm_parts.h"

namespace lockstep::cuda {

using namespace norm;

namespace {

struct Gradient {
  const void *x = nullptr, *y = nullptr, *dy = nullptr;
  void *dx = nullptr, *dresidual = nullptr;
  uint8_t* mask = nullptr;  // a bit an element and a byte a pack: where 0 < y < top
  const float* mean = nullptr;
  float top = INFINITY;  // of the relu
};

/// Whether the gradient passes the relu whose output is y.
__device__ inline bool passes_relu(float y, float top) { return y > 0 && y < top; }

/// Sums of g and g * (x - mean) of each part: partial[part, 2, c], where g is dy after relu. With `keeps`, keeps g as
/// the residual's gradient, or where it passed as a mask, so that the next pass need not read y again.
template <class T, int Size, bool with_relu, bool add, bool keeps>
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
          const bool passes = passes_relu(element(y[i], k), a.top);
          bits |= static_cast<unsigned>(passes) << k;
          g[k] = passes ? g[k] : 0.0F;
        }
        sums[0][k] += g[k];
        sums[1][k] = fmaf(g[k], element(x[i], k) - mean[k], sums[1][k]);
      }
      if constexpr (keeps && add)
        store_pack<T, Size>(static_cast<T*>(a.dresidual) + place, g);
      else if constexpr (keeps && with_relu)
        a.mask[(at.begin + here) * s.packs + at.pack] = static_cast<uint8_t>(bits);
    }
  }
  sum_rows<Size, 2>(s, at.row, sums);
  if (!at.holds_sums()) return;
  partial += at.result<Size>(s, 2);
  store_channels(partial, sums[0]);
  store_channels(partial + s.channels, sums[1]);
}

/// finish(c, sum of g, sum of g * (x - mean)) for each channel, from what the parts hold.
template <class Finish>
__device__ inline void add_parts(const Columns& s, const float* partial, int64_t valid, Finish finish) {
  combine_parts(
      parts_with(s, valid), s.channels,
      [&](int part, int c, double& g, double& g_deviation) {
        const float* from = partial + int64_t{part} * 2 * s.channels + c;
        g += double{from[0]};
        g_deviation += double{from[s.channels]};
      },
      finish);
}

/// By channel: gamma over the deviation; the mean of g; the mean of g * normalised x, over the deviation. And the
/// gradients that go with them.
struct Slopes {
  Slopes(const Plan& plan, const Args& args, size_t gamma)
      : gamma(args.in[gamma].as()),
        inverse(args.in[gamma + 2].as()),
        dgamma(args.out[1].as()),
        dbeta(args.out[2].as()),
        scale(plan.kept(args, 0)),
        offset(plan.kept(args, 1)),
        slope(plan.kept(args, 2)) {}
  /// Means are of so many rows.
  __device__ void keep(int64_t c, double g, double g_deviation, int64_t rows) const {
    const auto count = static_cast<double>(max(rows, int64_t{1}));
    const double inv = double{inverse[c]};
    dgamma[c] = static_cast<float>(g_deviation * inv);
    dbeta[c] = static_cast<float>(g);
    scale[c] = gamma[c] * inverse[c];
    offset[c] = static_cast<float>(g / count);
    slope[c] = static_cast<float>(g_deviation * inv * inv / count);
  }

  const float *gamma, *inverse;
  float *dgamma, *dbeta, *scale, *offset, *slope;
};

__global__ void __launch_bounds__(combine_threads)
    slopes_kernel(Columns s, const float* partial, Samples samples, Slopes to) {
  const int64_t valid = samples.valid(s);
  add_parts(s, partial, valid, [&](int c, double g, double g_deviation) { to.keep(c, g, g_deviation, valid); });
}

/// to[2, c]: the sums of g and of g * (x - mean).
__global__ void __launch_bounds__(combine_threads)
    added_sums_kernel(Columns s, const float* partial, Samples samples, float* to) {
  add_parts(s, partial, samples.valid(s), [&](int c, double g, double g_deviation) {
    to[c] = static_cast<float>(g);
    to[s.channels + c] = static_cast<float>(g_deviation);
  });
}

/// From such sums over images of `pixels`.
__global__ void image_slopes_kernel(int64_t channels, const float* sums, const LaneState* lane, int64_t pixels,
                                    Slopes to) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < channels) to.keep(c, double{sums[c]}, double{sums[channels + c]}, lane->valid * pixels);
}

/// dx, which may be x. Rows that do not count get 0, also in the residual's gradient. `kept` says that the pass before
/// has kept what it found.
template <class T, int Size, bool with_relu, bool add, bool kept>
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
  constexpr bool masked = with_relu && !kept, by_bits = with_relu && kept && !add;
  const void* const gradient = kept && add ? a.dresidual : a.dy;
  backwards<unroll>(s, at, [&](int row) {
    Pack<T, Size> x[unroll], y[unroll], g[unroll];
    unsigned bits[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= valid) continue;
      x[i] = load_pack<T, Size>(static_cast<const T*>(a.x) + place);
      g[i] = load_pack<T, Size>(static_cast<const T*>(gradient) + place);
      if constexpr (masked) y[i] = load_pack<T, Size>(static_cast<const T*>(a.y) + place);
      if constexpr (by_bits) bits[i] = a.mask[(at.begin + here) * s.packs + at.pack];
    }
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here >= at.end) continue;
      float dx[Size] = {}, residual[Size] = {};
      if (here < valid) {
#pragma unroll
        for (int k = 0; k < Size; ++k) {
          float passed = element(g[i], k);
          if constexpr (masked) passed = passes_relu(element(y[i], k), a.top) ? passed : 0.0F;
          if constexpr (by_bits) passed = (bits[i] >> k & 1) != 0 ? passed : 0.0F;
          residual[k] = passed;
          const float deviation = element(x[i], k) - mean[k];
          dx[k] = scale[k] * fmaf(-deviation, slope[k], passed - offset[k]);
        }
      }
      if constexpr (add)
        if (!kept || here >= valid) store_pack<T, Size>(static_cast<T*>(a.dresidual) + place, residual);
      store_pack<T, Size>(static_cast<T*>(a.dx) + place, dx);
    }
  });
}

/// partial[part, 2, c].
template <bool keeps>
void run_sums(Stream& stream, const Plan& plan, const Gradient& a, const Samples& samples, float* partial,
              bool with_relu, bool add) {
  if (plan.columns.empty()) return;
  with_variant(plan, with_relu, add, [&](auto type, auto size, auto relu_too, auto add_too) {
    launch(stream, plan.columns.grid(),
           gradient_sums_kernel<decltype(type), size.value, relu_too.value, add_too.value, keeps>, plan.columns, a,
           samples, partial);
  });
}

template <bool kept>
void run_gradient(Stream& stream, const Plan& plan, const Gradient& a, const Samples& samples, const Slopes& by,
                  bool with_relu, bool add) {
  if (plan.columns.empty()) return;
  with_variant(plan, with_relu, add, [&](auto type, auto size, auto relu_too, auto add_too) {
    launch(stream, plan.columns.grid(),
           gradient_kernel<decltype(type), size.value, relu_too.value, add_too.value, kept>, plan.columns, a, samples,
           by);
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
            const Gradient a{args.in[0].data,
                             with_relu ? args.in[1].data : nullptr,
                             args.in[after_y].data,
                             args.out[0].data,
                             add ? args.out[3].data : nullptr,
                             plan.mask(args, 3),
                             args.in[after_y + 2].as(),
                             with_relu.top};
            const Slopes slopes(plan, args, after_y + 1);
            float* const partial = plan.partial(args, 3);
            run_sums<true>(stream, plan, a, samples, partial, with_relu, add);
            launch(stream, combine_grid(s.channels), slopes_kernel, s, partial, samples, slopes);
            run_gradient<true>(stream, plan, a, samples, slopes, with_relu, add);
          }};
}

Kernel make(const BatchNormGradSumsOp& op, const Signature& signature, const SharedContext& context) {
  const size_t after_y = op.relu ? 2 : 1;
  const Plan plan(signature.in[0], signature.in[after_y + 2].shape[0], context->multiprocessors);
  return {.workspace = plan.workspace(0, false),
          .run = [plan, after_y, with_relu = op.relu](Stream& stream, const Args& args) {
            const Columns& s = plan.columns;
            if (s.channels == 0) return;
            const Samples samples = plan.samples(args, after_y + 2);
            const Gradient a{.x = args.in[0].data,
                             .y = with_relu ? args.in[1].data : nullptr,
                             .dy = args.in[after_y].data,
                             .mean = args.in[after_y + 1].as(),
                             .top = with_relu.top};
            float* const partial = plan.partial(args, 0);
            run_sums<false>(stream, plan, a, samples, partial, with_relu, false);
            launch(stream, combine_grid(s.channels), added_sums_kernel, s, partial, samples, args.out[0].as());
          }};
}

Kernel make(const BatchNormGradApplyOp& op, const Signature& signature, const SharedContext& context) {
  const size_t after_y = op.relu ? 2 : 1;
  const Plan plan(signature.in[0], signature.in[after_y + 4].shape[0], context->multiprocessors);
  return {
      .workspace = plan.workspace(3, false),
      .run = [plan, after_y, pixels = op.pixels, with_relu = op.relu, add = op.add](Stream& stream, const Args& args) {
        const Columns& s = plan.columns;
        if (s.channels == 0) return;
        const Samples samples = plan.samples(args, after_y + 4);
        const Gradient a{.x = args.in[0].data,
                         .y = with_relu ? args.in[1].data : nullptr,
                         .dy = args.in[after_y].data,
                         .dx = args.out[0].data,
                         .dresidual = add ? args.out[3].data : nullptr,
                         .mean = args.in[after_y + 2].as(),
                         .top = with_relu.top};
        const Slopes slopes(plan, args, after_y + 1);
        launch(stream, {blocks_for(s.channels)}, image_slopes_kernel, s.channels, args.in[after_y + 5].as(),
               samples.lane, pixels, slopes);
        run_gradient<false>(stream, plan, a, samples, slopes, with_relu, add);
      }};
}

}  // namespace lockstep::cuda
