// What batch norm's kernels share: which rows count, sums over them, and the passes over x.
#pragma once

#include <cmath>

#include "core/error.h"
#include "core/graph/kernel.h"
#include "core/step_state.h"
#include "layers/activations/relu.h"
#include "layers/cpu/columns.h"
#include "layers/cpu/parallel.h"
#include "layers/normalization/moments.h"

namespace lockstep::cpu::norm {

/// x as [rows, channels], and how its rows are summed.
struct Rows {
  Rows(const Type& x, int64_t lanes)
      : channels(x.shape[-1]),
        total(channels ? x.shape.elements() / channels : 0),
        per_sample(x.shape[0] ? total / x.shape[0] : 0),
        block(rows_per_block(channels)),
        blocks((total + block - 1) / block) {
    if (lanes != 1) throw Error("the batch norm kernel works on one lane, but got {}", lanes);
  }
  int64_t valid(const Args& args, size_t lane_state) const {
    return args.in[lane_state].as<LaneState>()->valid * per_sample;
  }
  /// Two sums a block and channel, then `kept` values a channel.
  size_t workspace(int64_t kept) const { return static_cast<size_t>((2 * blocks + kept) * channels) * sizeof(float); }
  float* kept(float* workspace) const { return workspace + 2 * blocks * channels; }
  int64_t bytes() const { return channels * static_cast<int64_t>(sizeof(float)); }

  int64_t channels, total, per_sample, block, blocks;
};

/// body(first row, rows, sums) for each block of the first `valid` rows, where `sums` has 2 * channels floats; then
/// combine(c, n) for groups of at most 64 channels.
template <class Body, class Combine>
void by_block(const Rows& rows, int64_t valid, float* sums, int64_t bytes, Body body, Combine combine) {
  const int64_t blocks = (valid + rows.block - 1) / rows.block;
  parallel_for(blocks, rows.block * bytes, [=, &rows](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b)
      body(b * rows.block, std::min(rows.block, valid - b * rows.block), sums + 2 * b * rows.channels);
  });
  parallel_for((rows.channels + 63) / 64, 64 * 16 * blocks, [=, &rows](int64_t begin, int64_t end) {
    for (int64_t c = 64 * begin; c < std::min(64 * end, rows.channels); c += 64)
      combine(c, std::min<int64_t>(64, rows.channels - c));
  });
}

/// Mean and the sum of squared deviations from it of `valid` values, for `n` channels, from those of parts (Chan, Golub
/// and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979). `each` calls what
/// it is given with channel, count, mean and squares of every part.
template <class Each>
void merge_moments(int64_t n, int64_t valid, Each each, double* mean, double* squares) {
  std::fill_n(mean, n, 0.0);
  std::fill_n(squares, n, 0.0);
  each([&](int64_t i, double count, double part_mean, double) { mean[i] += count * part_mean; });
  for (int64_t i = 0; i < n; ++i) mean[i] /= static_cast<double>(std::max<int64_t>(valid, 1));
  each([&](int64_t i, double count, double part_mean, double part_squares) {
    const double off = part_mean - mean[i];
    squares[i] += part_squares + count * off * off;
  });
}

/// keep(c, mean, sum of squared deviations) for each channel of the first `valid` rows of x, on any thread; `sums` is
/// the workspace.
template <class Keep>
void moments(const Rows& rows, int64_t valid, const float* x, float* sums, Keep keep) {
  // A block is in cache for the second look at it, so deviations are taken from its mean and not from zero: no
  // cancellation where the mean is large.
  const auto of_block = [=, &rows](int64_t first, int64_t count, float* block) {
    const float* from = x + first * rows.channels;
    float* const block_mean = block;
    sum_columns<1>(count, rows.channels,
                   [=, &rows]<class V>(V, int64_t row, int64_t c, V(&term)[1]) {
                     term[0] = load<V>(from + row * rows.channels + c);
                   },
                   {block_mean});
    const float share = 1 / static_cast<float>(count);
    for (int64_t c = 0; c < rows.channels; ++c) block_mean[c] *= share;
    sum_columns<1>(count, rows.channels,
                   [=, &rows]<class V>(V, int64_t row, int64_t c, V(&term)[1]) {
                     const V off = load<V>(from + row * rows.channels + c) - load<V>(block_mean + c);
                     term[0] = off * off;
                   },
                   {block + rows.channels});
  };
  const auto finish = [=, &rows](int64_t c, int64_t n) {
    double mean[64], squares[64];
    const auto each_block = [&](auto body) {
      for (int64_t first = 0; first < valid; first += rows.block) {
        const float* block = sums + 2 * (first / rows.block) * rows.channels + c;
        const auto count = static_cast<double>(std::min(rows.block, valid - first));
        for (int64_t i = 0; i < n; ++i) body(i, count, double{block[i]}, double{block[rows.channels + i]});
      }
    };
    merge_moments(n, valid, each_block, mean, squares);
    for (int64_t i = 0; i < n; ++i) keep(c + i, mean[i], squares[i]);
  };
  by_block(rows, valid, sums, rows.bytes(), of_block, finish);
}

/// What the forward operators keep of each channel, and what `apply` takes.
struct Statistics {
  /// Of so many values a channel.
  Statistics(const Args& args, float* scale, float epsilon, int64_t count)
      : gamma(args.in[1].as()),
        mean(args.out[1].as()),
        inverse(args.out[2].as()),
        moments(args.out[3].as<Moments>()),
        scale(scale),
        epsilon(epsilon),
        count(count) {}
  /// The sum of squared deviations.
  void keep(int64_t c, double channel_mean, double squares) const {
    const double variance = squares / static_cast<double>(std::max<int64_t>(count, 1));
    const auto inverse_deviation = static_cast<float>(1 / std::sqrt(variance + double{epsilon}));
    mean[c] = static_cast<float>(channel_mean);
    inverse[c] = inverse_deviation;
    moments[c] = {.count = static_cast<float>(count), .mean = mean[c], .squares = static_cast<float>(squares)};
    scale[c] = gamma[c] * inverse_deviation;
  }

  const float* gamma;
  float *mean, *inverse;
  Moments* moments;
  float* scale;
  float epsilon;
  int64_t count;
};

/// Calls body(std::bool_constant, std::bool_constant): the inner loops have no branches.
template <class Body>
void with_flags(bool a, bool b, Body body) {
  if (a) {
    b ? body(std::true_type{}, std::true_type{}) : body(std::true_type{}, std::false_type{});
  } else {
    b ? body(std::false_type{}, std::true_type{}) : body(std::false_type{}, std::false_type{});
  }
}

struct Apply {
  const float *x, *residual;  // residual is null where there is none
  float* y;
  const float *mean, *scale, *beta;
  FusedRelu relu;
};

/// y = (x - mean) * scale + beta [+ residual] [relu] for the first `valid` rows, and 0 [+ residual] [relu] after them.
inline void apply(const Rows& rows, int64_t valid, const Apply& a) {
  with_flags(a.relu, a.residual != nullptr, [&](auto relu_too, auto add_too) {
    const auto finish = [=]<class V>(V value, int64_t at) {
      if constexpr (add_too.value) value = value + load<V>(a.residual + at);
      if constexpr (relu_too.value) value = cpu::relu(value, broadcast<V>(a.relu.top));
      store(a.y + at, value);
    };
    parallel_for(rows.total, rows.bytes() * (add_too.value ? 3 : 2), [=, &rows](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < std::min(end, valid); ++row)
        for_each_vec(rows.channels, [=, &rows]<class V>(V, int64_t c) {
          const int64_t at = row * rows.channels + c;
          finish((load<V>(a.x + at) - load<V>(a.mean + c)) * load<V>(a.scale + c) + load<V>(a.beta + c), at);
        });
      const int64_t padding = std::max(begin, valid);
      if (padding >= end) return;
      for_each_vec((end - padding) * rows.channels,
                   [=, &rows]<class V>(V, int64_t i) { finish(broadcast<V>(0), padding * rows.channels + i); });
    });
  });
}

/// What the gradient operators read at each element.
struct Gradient {
  const float *x, *y, *dy;  // y is read only after a relu
  const float* mean;
  float top;  // of that relu

  /// dy after the relu.
  template <bool masked, class V>
  [[gnu::always_inline]] V g(int64_t at) const {
    const V g = load<V>(dy + at);
    if constexpr (masked) {
      const V out = load<V>(y + at), zero = broadcast<V>(0), below_top = out < broadcast<V>(top) ? g : zero;
      return out > zero ? below_top : zero;
    } else {
      return g;
    }
  }
};

/// keep(c, sum of g, sum of g * (x - mean)) for each channel of the first `valid` rows, on any thread; `sums` is the
/// workspace. pass(at, g) sees every g.
template <bool masked, class Pass, class Keep>
void gradient_sums(const Rows& rows, int64_t valid, const Gradient& a, float* sums, Pass pass, Keep keep) {
  const auto of_block = [=, &rows](int64_t first, int64_t count, float* block) {
    sum_columns<2>(count, rows.channels,
                   [=, &rows]<class V>(V, int64_t row, int64_t c, V(&term)[2]) {
                     const int64_t at = (first + row) * rows.channels + c;
                     term[0] = a.template g<masked, V>(at);
                     pass(at, term[0]);
                     term[1] = term[0] * (load<V>(a.x + at) - load<V>(a.mean + c));
                   },
                   {block, block + rows.channels});
  };
  const auto combine = [=, &rows](int64_t c, int64_t n) {
    double g[64] = {}, g_deviation[64] = {};
    for (const float* block = sums + c; block < sums + c + 2 * rows.channels * ((valid + rows.block - 1) / rows.block);
         block += 2 * rows.channels)
      for (int64_t i = 0; i < n; ++i) {
        g[i] += double{block[i]};
        g_deviation[i] += double{block[rows.channels + i]};
      }
    for (int64_t i = 0; i < n; ++i) keep(c + i, g[i], g_deviation[i]);
  };
  by_block(rows, valid, sums, rows.bytes() * (masked ? 3 : 2), of_block, combine);
}

/// By channel, from `workspace` on: gamma over the deviation; the mean of g; the mean of g * normalised x, over the
/// deviation. And the gradients that go with them.
struct Slopes {
  Slopes(const Rows& rows, float* workspace, const Args& args, size_t gamma, int64_t count)
      : gamma(args.in[gamma].as()),
        inverse(args.in[gamma + 2].as()),
        dgamma(args.out[1].as()),
        dbeta(args.out[2].as()),
        scale(workspace),
        offset(scale + rows.channels),
        slope(offset + rows.channels),
        count(static_cast<double>(std::max<int64_t>(count, 1))) {}
  void keep(int64_t c, double g, double g_deviation) const {
    const double inv = double{inverse[c]};
    dgamma[c] = static_cast<float>(g_deviation * inv);
    dbeta[c] = static_cast<float>(g);
    scale[c] = gamma[c] * inverse[c];
    offset[c] = static_cast<float>(g / count);
    slope[c] = static_cast<float>(g_deviation * inv * inv / count);
  }

  const float *gamma, *inverse;
  float *dgamma, *dbeta, *scale, *offset, *slope;
  double count;
};

/// dx of the first `valid` rows, where take(V{}, at) gives g; 0 after them, also in the residual's gradient where there
/// is one.
template <class Take>
void input_gradient(const Rows& rows, int64_t valid, const Gradient& a, const Slopes& by, float* dx, float* dresidual,
                    Take take) {
  parallel_for(rows.total, rows.bytes() * 3, [=, &rows](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < std::min(end, valid); ++row)
      for_each_vec(rows.channels, [=, &rows]<class V>(V v, int64_t c) {
        const int64_t at = row * rows.channels + c;
        const V g = take(v, at);
        const V deviation = load<V>(a.x + at) - load<V>(a.mean + c);
        store(dx + at, load<V>(by.scale + c) * (g - load<V>(by.offset + c) - deviation * load<V>(by.slope + c)));
      });
    const int64_t padding = std::max(begin, valid);
    if (padding >= end) return;
    std::fill(dx + padding * rows.channels, dx + end * rows.channels, 0.0F);
    if (dresidual) std::fill(dresidual + padding * rows.channels, dresidual + end * rows.channels, 0.0F);
  });
}

}  // namespace lockstep::cpu::norm
