#include "layers/normalization/group_norm.h"

#include "layers/cpu/kernels.h"
#include "layers/cpu/normalization/layer_norm.h"

namespace lockstep::cpu {

namespace {

/// x as [samples, pixels, groups, depth], and what a sample needs of the workspace: sums a block and channel, then
/// values a channel.
struct Layout {
  Layout(const Shape& x, int64_t groups)
      : samples(x[0]),
        pixels(x.elements() / (x[0] * x[-1])),
        channels(x[-1]),
        groups(groups),
        depth(channels / groups),
        blocks(pixels, channels) {}
  /// Floats of a sample, with two sums and `values` values a channel.
  int64_t floats(int64_t values) const { return (2 * blocks.count + values) * channels; }
  size_t workspace(int64_t values) const { return static_cast<size_t>(samples * floats(values)) * sizeof(float); }

  int64_t samples, pixels, channels, groups, depth;
  RowBlocks blocks;
};

/// The sums over all pixels of `Sums` terms, by channel; a sample has one thread.
template <int Sums, class Terms, class Keep>
void sample_totals(const Layout& s, float* sums, Terms terms, Keep keep) {
  // No traffic: so small a loop is not cut again.
  column_totals<Sums>(s.blocks, sums, 0, terms, keep);
}

struct Forward {
  const float *x, *gamma, *beta;
  float *y, *mean, *inverse;  // of one sample
};

void forward(const Layout& s, const Forward& a, float epsilon, float* workspace) {
  float *const mean = workspace + 2 * s.blocks.count * s.channels, *const scale = mean + s.channels;
  const double n = static_cast<double>(s.pixels * s.depth);
  const auto by_group = [&](auto terms, auto finish) {
    double total = 0;
    sample_totals<1>(s, workspace, terms, [&](int64_t c, const double(&sum)[1]) {
      total += sum[0];
      if ((c + 1) % s.depth != 0) return;
      finish(c / s.depth, total / n);
      total = 0;
    });
  };
  by_group(
      [=, &s]<class V>(V, int64_t pixel, int64_t c, V(&term)[1]) { term[0] = load<V>(a.x + pixel * s.channels + c); },
      [&](int64_t group, double value) {
        a.mean[group] = static_cast<float>(value);
        std::fill_n(mean + group * s.depth, s.depth, a.mean[group]);
      });
  by_group(
      [=, &s]<class V>(V, int64_t pixel, int64_t c, V(&term)[1]) {
        const V off = load<V>(a.x + pixel * s.channels + c) - load<V>(mean + c);
        term[0] = off * off;
      },
      [&](int64_t group, double value) {
        a.inverse[group] = static_cast<float>(1 / std::sqrt(value + double{epsilon}));
        for (int64_t c = group * s.depth; c < (group + 1) * s.depth; ++c) scale[c] = a.gamma[c] * a.inverse[group];
      });
  for (int64_t pixel = 0; pixel < s.pixels; ++pixel)
    for_each_vec(s.channels, [=, &s]<class V>(V, int64_t c) {
      const int64_t at = pixel * s.channels + c;
      store(a.y + at, (load<V>(a.x + at) - load<V>(mean + c)) * load<V>(scale + c) + load<V>(a.beta + c));
    });
}

struct Backward {
  const float *x, *dy, *gamma, *mean, *inverse;
  float* dx;  // of one sample
};

/// dx = scale * dy - offset - (x - mean) * slope by channel, and the sample's terms of dgamma and dbeta.
void backward(const Layout& s, const Backward& a, float* workspace, float* dgamma, float* dbeta) {
  float *const mean = workspace + 2 * s.blocks.count * s.channels, *const scale = mean + s.channels;
  float *const offset = scale + s.channels, *const slope = offset + s.channels;
  for (int64_t c = 0; c < s.channels; ++c) {
    mean[c] = a.mean[c / s.depth];
    scale[c] = a.gamma[c] * a.inverse[c / s.depth];
  }
  const double n = static_cast<double>(s.pixels * s.depth);
  double g = 0, g_normal = 0;
  sample_totals<2>(
      s, workspace,
      [=, &s]<class V>(V, int64_t pixel, int64_t c, V(&term)[2]) {
        const int64_t at = pixel * s.channels + c;
        term[0] = load<V>(a.dy + at);
        term[1] = term[0] * (load<V>(a.x + at) - load<V>(mean + c));
      },
      [&](int64_t c, const double(&totals)[2]) {
        const int64_t group = c / s.depth;
        const double inverse = double{a.inverse[group]};
        dbeta[c] = static_cast<float>(totals[0]);
        dgamma[c] = static_cast<float>(totals[1] * inverse);
        g += double{a.gamma[c]} * totals[0];
        g_normal += double{a.gamma[c]} * totals[1] * inverse;
        if ((c + 1) % s.depth != 0) return;
        std::fill_n(offset + group * s.depth, s.depth, static_cast<float>(inverse * g / n));
        std::fill_n(slope + group * s.depth, s.depth, static_cast<float>(inverse * inverse * g_normal / n));
        g = g_normal = 0;
      });
  for (int64_t pixel = 0; pixel < s.pixels; ++pixel)
    for_each_vec(s.channels, [=, &s]<class V>(V, int64_t c) {
      const int64_t at = pixel * s.channels + c;
      const V off = load<V>(a.x + at) - load<V>(mean + c);
      store(a.dx + at, load<V>(a.dy + at) * load<V>(scale + c) - load<V>(offset + c) - off * load<V>(slope + c));
    });
}

}  // namespace

Kernel make(const GroupNormOp& op, const Signature& signature) {
  const Shape x = signature.in[0].shape;
  if (op.norm.over == NormOver::channels)
    return {
        .run = [rows = x.elements() / x[-1], channels = x[-1], epsilon = op.norm.epsilon](Stream&, const Args& args) {
          layer_norm::forward(
              {args.in[0].as(), args.in[1].as(), args.in[2].as(), args.out[0].as(), args.out[1].as(), args.out[2].as()},
              rows, channels, epsilon);
        }};
  const Layout s(x, op.norm.groups);
  return {.workspace = s.workspace(2), .run = [s, epsilon = op.norm.epsilon](Stream&, const Args& args) {
            parallel_for(s.samples, s.pixels * s.channels * 16, [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i) {
                const int64_t first = i * s.pixels * s.channels, group = i * s.groups;
                forward(s,
                        {args.in[0].as() + first, args.in[1].as(), args.in[2].as(), args.out[0].as() + first,
                         args.out[1].as() + group, args.out[2].as() + group},
                        epsilon, reinterpret_cast<float*>(args.workspace) + i * s.floats(2));
              }
            });
          }};
}

Kernel make(const GroupNormGradOp& op, const Signature& signature) {
  const Shape x = signature.in[0].shape;
  if (op.norm.over == NormOver::channels) {
    const RowBlocks blocks(x.elements() / x[-1], x[-1]);
    return {.workspace = blocks.workspace(2), .run = [blocks](Stream&, const Args& args) {
              layer_norm::backward({args.in[0].as(), args.in[1].as(), args.in[2].as(), args.in[3].as(), args.in[4].as(),
                                    args.out[0].as(), args.out[1].as(), args.out[2].as()},
                                   blocks, reinterpret_cast<float*>(args.workspace));
            }};
  }
  const Layout s(x, op.norm.groups);
  return {.workspace = s.workspace(6), .run = [s](Stream&, const Args& args) {
            // A sample's terms of dgamma and dbeta are the last two values a channel.
            const auto sample = [&](int64_t i) { return reinterpret_cast<float*>(args.workspace) + i * s.floats(6); };
            const int64_t terms = s.floats(4);
            parallel_for(s.samples, s.pixels * s.channels * 20, [&](int64_t begin, int64_t end) {
              for (int64_t i = begin; i < end; ++i) {
                const int64_t first = i * s.pixels * s.channels, group = i * s.groups;
                backward(s,
                         {args.in[0].as() + first, args.in[1].as() + first, args.in[2].as(), args.in[3].as() + group,
                          args.in[4].as() + group, args.out[0].as() + first},
                         sample(i), sample(i) + terms, sample(i) + terms + s.channels);
              }
            });
            for (const int64_t which : {0, 1})
              for (int64_t c = 0; c < s.channels; ++c) {
                double total = 0;
                for (int64_t i = 0; i < s.samples; ++i) total += double{sample(i)[terms + which * s.channels + c]};
                args.out[static_cast<size_t>(1 + which)].as()[c] = static_cast<float>(total);
              }
          }};
}

}  // namespace lockstep::cpu
