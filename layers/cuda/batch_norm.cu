#include "layers/batch_norm.h"

#include "layers/cuda/batch_norm.cuh"

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

struct Statistics {
  float *mean, *inverse, *mean_sum, *variance_sum, *scale;
};

__global__ void __launch_bounds__(combine_threads) statistics_kernel(Columns s, const float* partial, Samples samples,
                                                                     const float* gamma, float epsilon, Statistics to) {
  const int64_t valid = samples.valid(s);
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
        const double mean = pivot(c) + sum / count;
        double variance = (squares - sum * (sum / count)) / count;
        if (variance < 0) variance = 0;
        const auto inverse = static_cast<float>(1 / sqrt(variance + double{epsilon}));
        const auto samples_here = static_cast<double>(samples.lane->valid);
        to.mean[c] = static_cast<float>(mean);
        to.inverse[c] = inverse;
        to.mean_sum[c] = static_cast<float>(mean * samples_here);
        to.variance_sum[c] = static_cast<float>(variance * samples_here);
        to.scale[c] = gamma[c] * inverse;
      });
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
        if constexpr (with_relu) y[k] = relu(y[k]);
      }
      store_pack<T, Size>(static_cast<T*>(a.y) + first + int64_t{here} * s.channels, y);
    }
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
            float* const scale = plan.kept(args, 0);
            float* const partial = plan.partial(args, 1);
            if (!s.empty())
              with_packs(plan.dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
                launch(stream, s.grid(), moments_kernel<T, Size>, s, args.in[0].as<const T>(), samples, partial);
              });
            launch(stream, combine_grid(s.channels), statistics_kernel, s, partial, samples, args.in[1].as(), epsilon,
                   Statistics{args.out[1].as(), args.out[2].as(), args.out[3].as(), args.out[4].as(), scale});
            if (!s.empty())
              run_apply(stream, plan,
                        {args.in[0].data, add ? args.in[4].data : nullptr, args.out[0].data, args.out[1].as(), scale,
                         args.in[2].as()},
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
                       args.in[2].as()},
                      {nullptr, plan.per_sample}, with_relu);
          }};
}

}  // namespace lockstep::cuda
