#include "layers/normalization/group_norm.h"

#include "layers/cuda/context.h"
#include "layers/cuda/rows.cuh"
#include "layers/cuda/term_sums.cuh"

namespace lockstep::cuda {

namespace {

/// x as [samples, pixels, groups, depth]; where pixels are normalised alone, each is a sample of one pixel.
struct Layout {
  Layout(const GroupNormAttributes& norm, const Shape& x) : channels(x[-1]), groups(norm.groups) {
    samples = norm.over == NormOver::group ? x[0] : x.elements() / channels;
    pixels = x.elements() / (samples * channels);
    depth = channels / groups;
  }
  int64_t samples, pixels, channels, groups, depth;

  /// Elements under one mean.
  __host__ __device__ int64_t size() const { return pixels * depth; }
  /// Of group `row`, counted over all samples: its first element, and that of number i.
  __device__ int64_t first(int64_t row) const {
    const int64_t sample = row / groups;
    return sample * pixels * channels + (row - sample * groups) * depth;
  }
  __device__ int64_t offset(int64_t i) const {
    const int64_t pixel = pixels == 1 ? 0 : i / depth;
    return pixel * channels + (i - pixel * depth);
  }
  __device__ int64_t channel(int64_t row, int64_t i) const { return row % groups * depth + i % depth; }
};

template <class T, int Threads>
__global__ void group_norm_kernel(Layout s, float epsilon, const T* x, const float* gamma, const float* beta, T* y,
                                  float* means, float* inverses) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= s.samples * s.groups) return;
  x += s.first(thread.row);
  y += s.first(thread.row);
  const auto size = static_cast<double>(s.size());
  double sum = 0;
  for (int64_t i = thread.first; i < s.size(); i += Threads) sum += double{to_float(x[s.offset(i)])};
  const auto mean = static_cast<float>(row_sum<Threads>(sum, scratch) / size);
  double squares = 0;
  for (int64_t i = thread.first; i < s.size(); i += Threads) {
    const float off = to_float(x[s.offset(i)]) - mean;
    squares += double{off * off};
  }
  const auto inverse = static_cast<float>(1 / sqrt(row_sum<Threads>(squares, scratch) / size + double{epsilon}));
  if (thread.first == 0) {
    means[thread.row] = mean;
    inverses[thread.row] = inverse;
  }
  for (int64_t i = thread.first; i < s.size(); i += Threads) {
    const int64_t at = s.offset(i), c = s.channel(thread.row, i);
    y[at] = from_float<T>((to_float(x[at]) - mean) * inverse * gamma[c] + beta[c]);
  }
}

template <class T, int Threads>
__global__ void group_norm_grad_kernel(Layout s, const T* x, const T* dy, const float* gamma, const float* means,
                                       const float* inverses, T* dx) {
  __shared__ RowScratch scratch;
  const RowThread<Threads> thread;
  if (thread.row >= s.samples * s.groups) return;
  x += s.first(thread.row);
  dy += s.first(thread.row);
  dx += s.first(thread.row);
  const float mean = means[thread.row], inverse = inverses[thread.row];
  const auto size = static_cast<double>(s.size());
  double sum = 0, sum_normal = 0;
  for (int64_t i = thread.first; i < s.size(); i += Threads) {
    const int64_t at = s.offset(i);
    const float g = to_float(dy[at]) * gamma[s.channel(thread.row, i)];
    sum += double{g};
    sum_normal += double{g * ((to_float(x[at]) - mean) * inverse)};
  }
  const auto offset = static_cast<float>(row_sum<Threads>(sum, scratch) / size);
  const auto slope = static_cast<float>(row_sum<Threads>(sum_normal, scratch) / size);
  for (int64_t i = thread.first; i < s.size(); i += Threads) {
    const int64_t at = s.offset(i);
    const float g = to_float(dy[at]) * gamma[s.channel(thread.row, i)];
    dx[at] = from_float<T>(inverse * (g - offset - (to_float(x[at]) - mean) * inverse * slope));
  }
}

/// Of dbeta and dgamma: dy and dy * (x - mean) / deviation.
template <class T, int Size>
struct GradientTerms {
  Layout s;
  const T *x, *dy;
  const float *means, *inverses;

  __device__ void operator()(int64_t row, int c, float (&term)[2][Size]) const {
    const auto a = load_pack<T, Size>(x + row * s.channels + c), b = load_pack<T, Size>(dy + row * s.channels + c);
    const int64_t sample = s.pixels == 1 ? row : row / s.pixels;
#pragma unroll
    for (int k = 0; k < Size; ++k) {
      const int64_t group = sample * s.groups + (c + k) / s.depth;
      term[0][k] = element(b, k);
      term[1][k] = element(b, k) * ((element(a, k) - means[group]) * inverses[group]);
    }
  }
};

}  // namespace

Kernel make(const GroupNormOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  return {.run = [s = Layout(op.norm, x.shape), epsilon = op.norm.epsilon, dtype = x.dtype](Stream& stream,
                                                                                            const Args& args) {
    with_float(dtype, [&]<class T>(T) {
      with_row_threads(s.size(), [&]<int Threads>(std::integral_constant<int, Threads>) {
        launch(stream, row_grid<Threads>(s.samples * s.groups), group_norm_kernel<T, Threads>, s, epsilon,
               args.in[0].as<const T>(), args.in[1].as(), args.in[2].as(), args.out[0].as<T>(), args.out[1].as(),
               args.out[2].as());
      });
    });
  }};
}

Kernel make(const GroupNormGradOp& op, const Signature& signature, const SharedContext&) {
  const Type& x = signature.in[0];
  const Layout s(op.norm, x.shape);
  const int64_t rows = s.samples * s.pixels;
  return {.workspace = term_sums_workspace(rows, s.channels, 2),
          .run = [s, rows, dtype = x.dtype](Stream& stream, const Args& args) {
            with_packs(dtype, s.channels, [&]<class T, int Size>(T, std::integral_constant<int, Size>) {
              const auto *from = args.in[0].as<const T>(), *dy = args.in[1].as<const T>();
              with_row_threads(s.size(), [&]<int Threads>(std::integral_constant<int, Threads>) {
                launch(stream, row_grid<Threads>(s.samples * s.groups), group_norm_grad_kernel<T, Threads>, s, from, dy,
                       args.in[2].as(), args.in[3].as(), args.in[4].as(), args.out[0].as<T>());
              });
              const GradientTerms<T, Size> terms{s, from, dy, args.in[3].as(), args.in[4].as()};
              term_sums<Size, 2>(stream, rows, s.channels, terms, args.workspace, args.out[2].as(), args.out[1].as());
            });
          }};
}

}  // namespace lockstep::cuda
