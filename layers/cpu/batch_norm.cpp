#include "layers/batch_norm.h"

#include <cmath>

#include "core/error.h"
#include "core/step_state.h"
#include "layers/cpu/columns.h"
#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"

namespace lockstep::cpu {

namespace {

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

/// Mean and the sum of squared deviations, from those of blocks (Chan, Golub and LeVeque, "Updating formulae and a
/// pairwise algorithm for computing sample variances", 1979), for `n` <= 64 channels from c on.
void combine_moments(const Rows& rows, int64_t valid, const float* sums, int64_t c, int64_t n, double* mean,
                     double* squares) {
  const auto each_block = [&](auto body) {
    for (int64_t first = 0; first < valid; first += rows.block) {
      const float* block = sums + 2 * (first / rows.block) * rows.channels + c;
      const auto count = static_cast<double>(std::min(rows.block, valid - first));
      for (int64_t i = 0; i < n; ++i) body(i, count, double{block[i]}, double{block[rows.channels + i]});
    }
  };
  std::fill_n(mean, n, 0.0);
  std::fill_n(squares, n, 0.0);
  each_block([&](int64_t i, double count, double block_mean, double) { mean[i] += count * block_mean; });
  for (int64_t i = 0; i < n; ++i) mean[i] /= static_cast<double>(std::max<int64_t>(valid, 1));
  each_block([&](int64_t i, double count, double block_mean, double block_squares) {
    const double off = block_mean - mean[i];
    squares[i] += block_squares + count * off * off;
  });
}

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
  bool relu;
};

/// y = (x - mean) * scale + beta [+ residual] [relu] for the first `valid` rows, and 0 [+ residual] [relu] after them.
void apply(const Rows& rows, int64_t valid, const Apply& a) {
  with_flags(a.relu, a.residual != nullptr, [&](auto relu_too, auto add_too) {
    const auto finish = [=]<class V>(V value, int64_t at) {
      if constexpr (add_too.value) value = value + load<V>(a.residual + at);
      if constexpr (relu_too.value) value = cpu::relu(value);
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

}  // namespace

Kernel make(const BatchNormOp& op, const Signature& signature) {
  BatchNormOp::expect_variance(signature.in[0], signature.in[3].shape[0]);
  const Rows rows(signature.in[0], signature.in[3].shape[0]);
  return {.workspace = rows.workspace(1),
          .run = [rows, epsilon = op.epsilon, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const float* x = args.in[0].as();
            const float* gamma = args.in[1].as();
            float* out[5];
            for (size_t i = 0; i < 5; ++i) out[i] = args.out[i].as();
            auto* const sums = reinterpret_cast<float*>(args.workspace);
            float* const scale = rows.kept(sums);
            const int64_t valid = rows.valid(args, 3);
            const auto samples = static_cast<double>(args.in[3].as<LaneState>()->valid);

            // A block is in cache for the second look at it, so deviations are taken from its mean and not from zero:
            // no cancellation where the mean is large.
            const auto moments = [=, &rows](int64_t first, int64_t count, float* block) {
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
              combine_moments(rows, valid, sums, c, n, mean, squares);
              for (int64_t i = 0; i < n; ++i) {
                const double variance = squares[i] / static_cast<double>(std::max<int64_t>(valid, 1));
                const auto inverse = static_cast<float>(1 / std::sqrt(variance + double{epsilon}));
                out[1][c + i] = static_cast<float>(mean[i]);
                out[2][c + i] = inverse;
                out[3][c + i] = static_cast<float>(mean[i] * samples);
                out[4][c + i] = static_cast<float>(variance * samples);
                scale[c + i] = gamma[c + i] * inverse;
              }
            };
            by_block(rows, valid, sums, rows.bytes(), moments, finish);
            apply(rows, valid, {x, add ? args.in[4].as() : nullptr, out[0], out[1], scale, args.in[2].as(), relu});
          }};
}

Kernel make(const BatchNormInferenceOp& op, const Signature& signature) {
  const Rows rows(signature.in[0], 1);
  return {.workspace = rows.workspace(1),
          .run = [rows, epsilon = op.epsilon, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const float* gamma = args.in[1].as();
            const float* variance = args.in[4].as();
            float* const scale = rows.kept(reinterpret_cast<float*>(args.workspace));
            for (int64_t c = 0; c < rows.channels; ++c)
              scale[c] = gamma[c] * static_cast<float>(1 / std::sqrt(double{variance[c]} + double{epsilon}));
            apply(rows, rows.total,
                  {args.in[0].as(), add ? args.in[5].as() : nullptr, args.out[0].as(), args.in[3].as(), scale,
                   args.in[2].as(), relu});
          }};
}

Kernel make(const BatchNormGradOp& op, const Signature& signature) {
  const size_t after_y = op.relu ? 2 : 1;
  const Rows rows(signature.in[0], signature.in[after_y + 4].shape[0]);
  return {.workspace = rows.workspace(3),
          .run = [rows, after_y, relu = op.relu, add = op.add](Stream&, const Args& args) {
            const float* x = args.in[0].as();
            const float* y = args.in[after_y - 1].as();  // read only where relu
            const float *dy = args.in[after_y].as(), *gamma = args.in[after_y + 1].as(),
                        *mean = args.in[after_y + 2].as(), *inverse = args.in[after_y + 3].as();
            float *dx = args.out[0].as(), *dgamma = args.out[1].as(), *dbeta = args.out[2].as();
            float* const dresidual = add ? args.out[3].as() : nullptr;
            auto* const sums = reinterpret_cast<float*>(args.workspace);
            float* const scale = rows.kept(sums);         // gamma / deviation
            float* const offset = scale + rows.channels;  // mean of g
            float* const slope = offset + rows.channels;  // mean of g * normalised x, over the deviation
            const int64_t valid = rows.valid(args, after_y + 4);

            const auto combine = [=, &rows](int64_t c, int64_t n) {
              double g[64] = {}, g_deviation[64] = {};
              for (const float* block = sums + c;
                   block < sums + c + 2 * rows.channels * ((valid + rows.block - 1) / rows.block);
                   block += 2 * rows.channels)
                for (int64_t i = 0; i < n; ++i) {
                  g[i] += double{block[i]};
                  g_deviation[i] += double{block[rows.channels + i]};
                }
              const auto count = static_cast<double>(std::max<int64_t>(valid, 1));
              for (int64_t i = 0; i < n; ++i) {
                const double inv = double{inverse[c + i]};
                dgamma[c + i] = static_cast<float>(g_deviation[i] * inv);
                dbeta[c + i] = static_cast<float>(g[i]);
                scale[c + i] = gamma[c + i] * inverse[c + i];
                offset[c + i] = static_cast<float>(g[i] / count);
                slope[c + i] = static_cast<float>(g_deviation[i] * inv * inv / count);
              }
            };
            with_flags(relu, add, [&](auto masked, auto add_too) {
              const auto gradient = [=]<class V>(V, int64_t at) {
                const V g = load<V>(dy + at);
                if constexpr (masked.value)
                  return load<V>(y + at) > broadcast<V>(0) ? g : broadcast<V>(0);
                else
                  return g;
              };
              const auto reduce = [=, &rows](int64_t first, int64_t count, float* block) {
                sum_columns<2>(count, rows.channels,
                               [=, &rows]<class V>(V v, int64_t row, int64_t c, V(&term)[2]) {
                                 const int64_t at = (first + row) * rows.channels + c;
                                 term[0] = gradient(v, at);
                                 if constexpr (add_too.value) store(dresidual + at, term[0]);
                                 term[1] = term[0] * (load<V>(x + at) - load<V>(mean + c));
                               },
                               {block, block + rows.channels});
              };
              by_block(rows, valid, sums, rows.bytes() * (relu ? 3 : 2), reduce, combine);
              parallel_for(rows.total, rows.bytes() * 3, [=, &rows](int64_t begin, int64_t end) {
                for (int64_t row = begin; row < std::min(end, valid); ++row)
                  for_each_vec(rows.channels, [=, &rows]<class V>(V v, int64_t c) {
                    const int64_t at = row * rows.channels + c;
                    V g;
                    if constexpr (add_too.value)
                      g = load<V>(dresidual + at);
                    else
                      g = gradient(v, at);
                    const V deviation = load<V>(x + at) - load<V>(mean + c);
                    store(dx + at, load<V>(scale + c) * (g - load<V>(offset + c) - deviation * load<V>(slope + c)));
                  });
                const int64_t padding = std::max(begin, valid);
                if (padding >= end) return;
                std::fill(dx + padding * rows.channels, dx + end * rows.channels, 0.0F);
                if constexpr (add_too.value)
                  std::fill(dresidual + padding * rows.channels, dresidual + end * rows.channels, 0.0F);
              });
            });
          }};
}

}  // namespace lockstep::cpu
