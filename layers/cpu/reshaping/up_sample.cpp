#include "layers/reshaping/up_sample.h"

#include <vector>

#include "layers/cpu/kernels.h"
#include "layers/cpu/parallel.h"
#include "layers/cpu/vec.h"
#include "layers/reshaping/interpolate.h"

namespace lockstep::cpu {

namespace {

/// Of one direction: where each output lies, in the inputs that are here.
std::vector<Tap> taps(const Enlargement& e, Interpolation interpolation) {
  std::vector<Tap> all;
  for (int64_t i = e.out.begin; i < e.out.end; ++i) {
    const Tap t = tap(e.factor, e.length, interpolation, i);
    all.push_back({t.low - e.in.begin, t.high - e.in.begin, t.share});
  }
  return all;
}

/// Of one direction: which outputs that are here take how much of an input.
struct Shares {
  int64_t begin = 0;
  std::vector<float> of;
};

std::vector<Shares> shares(const Enlargement& e, Interpolation interpolation) {
  std::vector<Shares> all;
  for (int64_t h = e.in.begin; h < e.in.end; ++h) {
    const Takers range = takers(e.factor, interpolation, h, e.out.begin, e.out.end);
    Shares from{range.begin - e.out.begin, {}};
    for (int64_t i = range.begin; i < range.end; ++i)
      from.of.push_back(taken(tap(e.factor, e.length, interpolation, i), h));
    all.push_back(std::move(from));
  }
  return all;
}

/// A row of y between two rows of x.
void between_rows(const float* low, const float* high, float share, const std::vector<Tap>& columns, int64_t channels,
                  float* y) {
  for (const Tap& column : columns) {
    const int64_t left = column.low * channels, right = column.high * channels;
    for_each_vec(channels, [&]<class V>(V, int64_t c) {
      const V a = broadcast<V>(1 - column.share), b = broadcast<V>(column.share);
      const V above = a * load<V>(low + left + c) + b * load<V>(low + right + c);
      const V below = a * load<V>(high + left + c) + b * load<V>(high + right + c);
      store(y + c, broadcast<V>(1 - share) * above + broadcast<V>(share) * below);
    });
    y += channels;
  }
}

void repeated_row(const float* x, const std::vector<Tap>& columns, int64_t channels, float* y) {
  for (const Tap& column : columns) {
    std::copy_n(x + column.low * channels, channels, y);
    y += channels;
  }
}

/// One pixel of dx. `dy` is its image.
void gathered(const float* dy, int64_t width, const Shares& rows, const Shares& columns, int64_t channels, float* dx) {
  for_each_vec(channels, [&]<class V>(V, int64_t c) {
    V sum = broadcast<V>(0);
    for (size_t r = 0; r < rows.of.size(); ++r) {
      const float* line = dy + ((rows.begin + static_cast<int64_t>(r)) * width + columns.begin) * channels + c;
      V of_row = broadcast<V>(0);
      for (size_t s = 0; s < columns.of.size(); ++s)
        of_row += broadcast<V>(columns.of[s]) * load<V>(line + static_cast<int64_t>(s) * channels);
      sum += broadcast<V>(rows.of[r]) * of_row;
    }
    store(dx + c, sum);
  });
}

}  // namespace

Kernel make(const UpSampleOp& op, const Signature& signature) {
  const Shape x = signature.in[0].shape, y = signature.out[0].shape;
  return {.run = [=, rows = taps(op.size[0], op.interpolation), columns = taps(op.size[1], op.interpolation),
                  nearest = op.interpolation == Interpolation::nearest](Stream&, const Args& args) {
    parallel_for(y[0] * y[1], y[2] * y[3] * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        const Tap& at = rows[static_cast<size_t>(row % y[1])];
        const float* image = args.in[0].as() + row / y[1] * x[1] * x[2] * x[3];
        const float *low = image + at.low * x[2] * x[3], *high = image + at.high * x[2] * x[3];
        float* to = args.out[0].as() + row * y[2] * y[3];
        if (nearest)
          repeated_row(low, columns, x[3], to);
        else
          between_rows(low, high, at.share, columns, x[3], to);
      }
    });
  }};
}

Kernel make(const UpSampleGradOp& op, const Signature& signature) {
  const Shape x = signature.out[0].shape, y = signature.in[0].shape;
  return {.run = [=, rows = shares(op.size[0], op.interpolation), columns = shares(op.size[1], op.interpolation)](
                     Stream&, const Args& args) {
    parallel_for(x[0] * x[1], x[2] * x[3] * 8, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t w = 0; w < x[2]; ++w)
          gathered(args.in[0].as() + row / x[1] * y[1] * y[2] * y[3], y[2], rows[static_cast<size_t>(row % x[1])],
                   columns[static_cast<size_t>(w)], x[3], args.out[0].as() + (row * x[2] + w) * x[3]);
    });
  }};
}

}  // namespace lockstep::cpu
