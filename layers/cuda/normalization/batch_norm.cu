#include "layers/normalization/batch_norm.h"

#include "layers/cuda/normalization/batch_norm.cuh"
#include "layers/normalization/batch_norm_parts.h"

namespace lockstep::cuda {

using namespace norm;

namespace {

/// What a block knows of its channels: means and sums of squared deviations of `count` rows each, all in 32 bits. They
/// are merged as in Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
/// variances", 1979: no difference of large numbers where the mean is large.
template <int Size>
struct Moments {
  float count = 0, mean[Size] = {}, squares[Size] = {};

  template <int Rows, class T>
  __device__ void take(const Pack<T, Size>* in) {
    count += Rows;
    const float share = Rows / count, weight = (count - Rows) * share;
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      float x[Rows], sum = 0, off_squares = 0;
#pragma unroll
      for (int i = 0; i < Rows; ++i) sum += x[i] = element(in[i], k);
      const float center = sum * (1.0F / Rows);
#pragma unroll
      for (int i = 0; i < Rows; ++i) {
        const float off = x[i] - center;
        off_squares = fmaf(off, off, off_squares);
      }
      add(k, center, off_squares, share, weight);
    }
  }
  /// `share` is the other's part of the rows, `weight` that many of the own rows. The product's order matters: a weight
  /// of 0 must not meet an overflow.
  __device__ void add(int k, float other_mean, float other_squares, float share, float weight) {
    const float off = other_mean - mean[k];
    mean[k] = fmaf(off, share, mean[k]);
    squares[k] += fmaf(weight * off, off, other_squares);
  }
};

/// Means and squares of each part: partial[part, 2, c].
template <class T, int Size>
__global__ void __launch_bounds__(block_threads, Columns::resident)
    moments_kernel(Columns s, const T* x, Samples samples, float* partial) {
  constexpr int unroll = 4;
  __shared__ float means[Size][block_threads], squares[Size][block_threads], counts[block_threads];
  const Place at(s, blockIdx.x, samples.valid(s));
  if (at.part_rows == 0) return;
  const T* const from = x + at.first<Size>(s);
  Moments<Size> own;
  for (int row = at.row; row < at.end; row += unroll * s.height) {
    Pack<T, Size> in[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i)
      if (row + i * s.height < at.end) in[i] = load_pack<T, Size>(from + int64_t{row + i * s.height} * s.channels);
    if (row + (unroll - 1) * s.height < at.end) {
      own.template take<unroll>(in);
    } else {
#pragma unroll
      for (int i = 0; i < unroll - 1; ++i)
        if (row + i * s.height < at.end) own.template take<1>(in + i);
    }
  }

  const unsigned t = threadIdx.x;
  const auto publish = [&] {
    counts[t] = own.count;
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      means[k][t] = own.mean[k];
      squares[k][t] = own.squares[k];
    }
  };
  publish();
  merge_rows(s, at.row, [&](int n) {
    const float more = counts[t + n];
    if (!(more > 0)) return;
    const float before = own.count;
    own.count += more;
    const float share = more / own.count;
#pragma unroll
    for (int k = 0; k < Size; ++k) own.add(k, means[k][t + n], squares[k][t + n], share, before * share);
    publish();
  });
  if (!at.holds_sums()) return;
  partial += at.result<Size>(s, 2);
  store_channels(partial, own.mean);
  store_channels(partial + s.channels, own.squares);
}

/// finish(c, mean, sum of squared deviations from it) for each channel, from what the parts hold.
template <class Finish>
__device__ inline void merge_parts(const Columns& s, const float* partial, int64_t valid, Finish finish) {
  // Deviations from one part's mean; what that mean is off the mean of all is subtracted in the end.
  const auto pivot = [&](int c) { return valid > 0 ? double{partial[c]} : 0.0; };
  combine_parts(
      parts_with(s, valid), s.channels,
      [&](int part, int c, double& sum, double& squares) {
        const float* from = partial + int64_t{part} * 2 * s.channels + c;
        const auto count = static_cast<double>(min(valid - int64_t{part} * s.per_part, int64_t{s.per_part}));
        const double off = double{from[0]} - pivot(c);
        sum += count * off;
        squares += double{from[s.channels]} + count * off * off;
      },
      [&](int c, double sum, double squares) {
        const auto count = static_cast<double>(max(valid, int64_t{1}));
        const double centred = squares - sum * (sum / count);
        finish(c, pivot(c) + sum / count, centred < 0 ? 0.0 : centred);
      });
}

/// What the operator keeps of a channel, and the scale that the next pass takes.
struct Statistics {
  Statistics(const Args& args, float epsilon, float* scale)
      : gamma(args.in[1].as()),
        mean(args.out[1].as()),
        inverse(args.out[2].as()),
        moments(args.out[3].as<lockstep::Moments>()),
        scale(scale),
        epsilon(epsilon) {}
  /// The sum of squared deviations, of so many values.
  __device__ void keep(int64_t c, double channel_mean, double squares, double count) const {
    const auto inverse_deviation = static_cast<float>(1 / sqrt(squares / max(count, 1.0) + double{epsilon}));
    mean[c] = static_cast<float>(channel_mean);
    inverse[c] = inverse_deviation;
    moments[c] = {.count = static_cast<float>(count), .mean = mean[c], .squares = static_cast<float>(squares)};
    scale[c] = gamma[c] * inverse_deviation;
  }

  const float* gamma;
  float *mean, *inverse;
  lockstep::Moments* moments;
  float* scale;
  float epsilon;
};

__global__ void __launch_bounds__(combine_threads)
    statistics_kernel(Columns s, const float* partial, Samples samples, Statistics to) {
  const int64_t valid = samples.valid(s);
  merge_parts(s, partial, valid,
              [&](int c, double mean, double squares) { to.keep(c, mean, squares, static_cast<double>(valid)); });
}

/// to[2, c]: the mean and the sum of squared deviations.
__global__ void __launch_bounds__(combine_threads)
    merged_moments_kernel(Columns s, const float* partial, Samples samples, float* to) {
  merge_parts(s, partial, samples.valid(s), [&](int c, double mean, double squares) {
    to[c] = static_cast<float>(mean);
    to[s.channels + c] = static_cast<float>(squares);
  });
}

/// Moments [2, rows, columns, c] of the parts of images, as even_slices cuts them.
struct ImageMoments {
  __device__ int64_t pixels(int64_t part) const {
    const int64_t row = part / columns, column = part % columns;
    return ((row + 1) * height / rows - row * height / rows) *
           ((column + 1) * width / columns - column * width / columns);
  }

  const float* moments;
  int64_t height, width, rows, columns;
};

__global__ void image_statistics_kernel(int64_t channels, ImageMoments a, Samples samples, Statistics to) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= channels) return;
  const int64_t parts = a.rows * a.columns;
  const auto valid = static_cast<double>(samples.lane->valid);
  const double count = valid * static_cast<double>(a.height * a.width);
  double mean = 0, squares = 0;
  for (int64_t part = 0; part < parts; ++part)
    mean += valid * static_cast<double>(a.pixels(part)) * double{a.moments[part * channels + c]};
  mean /= max(count, 1.0);
  for (int64_t part = 0; part < parts; ++part) {
    const double off = double{a.moments[part * channels + c]} - mean;
    squares +=
        double{a.moments[(parts + part) * channels + c]} + valid * static_cast<double>(a.pixels(part)) * off * off;
  }
  to.keep(c, mean, squares, count);
}

__global__ void kept_scale_kernel(int64_t channels, const float* gamma, const float* variance, float epsilon,
                                  float* scale) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < channels) scale[c] = gamma[c] * static_cast<float>(1 / sqrt(double{variance[c]} + double{epsilon}));
}

struct Apply {
  const void *x, *residual;
  void* y;
  const float *mean, *scale, *beta;
  float top;  // of the relu
};

/// y = (x - mean) * scale + beta [+ residual] [relu] for rows that count, and 0 [+ residual] [relu] for the others.
/// y may be x.
template <class T, int Size, bool with_relu, bool add>
__global__ void __launch_bounds__(block_threads, Columns::resident) apply_kernel(Columns s, Apply a, Samples samples) {
  constexpr int unroll = add ? 2 : 4;
  const Place at(s, block_from_last(), s.rows);
  if (!at.works) return;
  const int valid = Samples::in_part(at, samples.valid(s)), c = at.pack * Size;
  const int64_t first = at.first<Size>(s);
  float mean[Size], scale[Size], beta[Size];
  load_channels(mean, a.mean + c);
  load_channels(scale, a.scale + c);
  load_channels(beta, a.beta + c);
  backwards<unroll>(s, at, [&](int row) {
    Pack<T, Size> x[unroll], residual[unroll];
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      const int64_t place = first + int64_t{here} * s.channels;
      if (here < valid) x[i] = load_pack<T, Size>(static_cast<const T*>(a.x) + place);
      if constexpr (add)
        if (here < at.end) residual[i] = load_pack<T, Size>(static_cast<const T*>(a.residual) + place);
    }
#pragma unroll
    for (int i = 0; i < unroll; ++i) {
      const int here = row + i * s.height;
      if (here >= at.end) continue;
      float y[Size];
#pragma unroll
      for (int k = 0; k < Size; ++k) {
        y[k] = here < valid ? fmaf(element(x[i], k) - mean[k], scale[k], beta[k]) : 0.0F;
        if constexpr (add) y[k] += element(residual[i], k);
        if constexpr (with_relu) y[k] = relu(y[k], a.top);
      }
      store_pack<T, Size>(static_cast<T*>(a.y) + first + int64_t{here} * s.channels, y);
    }
  });
}

/// partial[part, 2, c].
void run_moments(Stream& stream, const Plan& plan, const Tensor& x, const Samples& samples, float* partial) {
  if (plan.columns.empty()) return;
  with_packs(plan.dtype, plan.columns.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
    launch(stream, plan.columns.grid(), moments_kernel<T, Size>, plan.columns, x.as<const T>(), samples, partial);
  });
}

void run_apply(Stream& stream, const Plan& plan, const Apply& a, const Samples& samples, bool with_relu) {
  with_variant(plan, with_relu, a.residual != nullptr, [&](auto type, auto size, auto relu_too, auto add_too) {
    launch(stream, plan.columns.grid(), apply_kernel<decltype(type), size.value, relu_too.value, add_too.value>,
           plan.columns, a, samples);
  });
}

}  // namespace

Kernel make(const BatchNormOp& op, const Signature& signature, const SharedContext& context) {
  BatchNormOp::expect_variance(signature.in[0], signature.in[3].shape[0]);
  const Plan plan(signature.in[0], signature.in[3].shape[0], context->multiprocessors);
  return {.workspace = plan.workspace(1, false),
          .run = [plan, epsilon = op.epsilon, with_relu = op.relu, add = op.add](Stream& stream, const Args& args) {
            const Columns& s = plan.columns;
            if (s.channels == 0) return;
            const Samples samples = plan.samples(args, 3);
            float* const partial = plan.partial(args, 1);
            const Statistics to(args, epsilon, plan.kept(args, 0));
            run_moments(stream, plan, args.in[0], samples, partial);
            launch(stream, combine_grid(s.channels), statistics_kernel, s, partial, samples, to);
            if (!s.empty())
              run_apply(stream, plan,
                        {args.in[0].data, add ? args.in[4].data : nullptr, args.out[0].data, to.mean, to.scale,
                         args.in[2].as(), with_relu.top},
                        samples, with_relu);
          }};
}

Kernel make(const BatchNormMomentsOp& op, const Signature& signature, const SharedContext& context) {
  op.expect_one_part();
  const Plan plan(signature.in[0], signature.in[1].shape[0], context->multiprocessors);
  return {.workspace = plan.workspace(0, false), .run = [plan](Stream& stream, const Args& args) {
            const Columns& s = plan.columns;
            if (s.channels == 0) return;
            const Samples samples = plan.samples(args, 1);
            float* const partial = plan.partial(args, 0);
            run_moments(stream, plan, args.in[0], samples, partial);
            launch(stream, combine_grid(s.channels), merged_moments_kernel, s, partial, samples, args.out[0].as());
          }};
}

Kernel make(const BatchNormApplyOp& op, const Signature& signature, const SharedContext& context) {
  const Plan plan(signature.in[0], signature.in[3].shape[0], context->multiprocessors);
  const ImageMoments images{nullptr, op.height, op.width, signature.in[4].shape[1], signature.in[4].shape[2]};
  return {
      .workspace = plan.workspace(1, false),
      .run = [plan, images, epsilon = op.epsilon, with_relu = op.relu, add = op.add](Stream& stream, const Args& args) {
        const Columns& s = plan.columns;
        if (s.channels == 0) return;
        const Samples samples = plan.samples(args, 3);
        const Statistics to(args, epsilon, plan.kept(args, 0));
        ImageMoments from = images;
        from.moments = args.in[4].as();
        launch(stream, {blocks_for(s.channels)}, image_statistics_kernel, s.channels, from, samples, to);
        if (!s.empty())
          run_apply(stream, plan,
                    {args.in[0].data, add ? args.in[5].data : nullptr, args.out[0].data, to.mean, to.scale,
                     args.in[2].as(), with_relu.top},
                    samples, with_relu);
      }};
}

Kernel make(const BatchNormInferenceOp& op, const Signature& signature, const SharedContext& context) {
  const Plan plan(signature.in[0], 1, context->multiprocessors);
  return {.workspace = plan.workspace(1, false),
          .run = [plan, epsilon = op.epsilon, with_relu = op.relu, add = op.add](Stream& stream, const Args& args) {
            const Columns& s = plan.columns;
            if (s.empty()) return;
            float* const scale = plan.kept(args, 0);
            launch(stream, {blocks_for(s.channels)}, kept_scale_kernel, s.channels, args.in[1].as(), args.in[4].as(),
                   epsilon, scale);
            run_apply(stream, plan,
                      {args.in[0].data, add ? args.in[5].data : nullptr, args.out[0].data, args.in[3].as(), scale,
                       args.in[2].as(), with_relu.top},
                      {nullptr, plan.per_sample}, with_relu);
          }};
}

}  // namespace lockstep::cuda
