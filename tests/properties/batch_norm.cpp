// Batch normalisation by its formulas in double; its gradient is orthogonal to 1 and, but for epsilon, to x.
#include "core/step_state.h"
#include "tests/properties/moments.h"

namespace lockstep::test {

namespace {

/// Batch norm of one lane, with what may follow it.
struct Batch {
  explicit Batch(Case& c, bool images_only = false) : dtype(c.dtype()) {
    Shape shape;
    do shape = !images_only && c.one_in(3) ? Shape{c.whole(2, 40), c.channels()} : c.images();
    while (shape.elements() == shape[-1]);
    channels = static_cast<size_t>(shape[-1]);
    lane = c.lane(shape[0], valid);
    rows = static_cast<double>(valid * (shape.elements() / shape[0] / shape[-1]));
    counted = static_cast<size_t>(valid * (shape.elements() / shape[0]));
    // With a mean that is large beside the deviation, or not.
    const float mean = c.one_of({0.0F, 0.0F, 5.0F});
    x = c.uniform(shape, mean - 1, mean + 1, dtype);
    residual = c.uniform(shape, -1, 1, dtype);
    dy = c.uniform(shape, -1, 1, dtype);
    gamma = c.uniform({shape[-1]}, 0.5F, 1.5F);
    beta = c.uniform({shape[-1]});
    add = c.coin();
    if (c.coin()) relu = c.coin() ? FusedRelu::up_to(1.5F) : FusedRelu(true);
  }

  Moments moments() const {
    return {numbers(x), channels, [this](size_t i) { return i < counted ? static_cast<int64_t>(i % channels) : -1; }};
  }
  /// scale * (x - mean) + beta, and what follows.
  Sums result(const std::vector<double>& mean, const std::vector<double>& inverse, size_t normalised) const {
    Sums y;
    for (size_t i = 0; i < count(x); ++i) {
      const size_t k = i % channels;
      Sum& v = y.emplace_back();
      if (i < normalised) {
        const double scale = number(gamma, k) * inverse[k];
        v.add(scale * (number(x, i) - mean[k]));
        v.add(number(beta, k));
        v.size += std::abs(scale * mean[k]);  // by whose rounding x - mean is off
      }
      if (add) v.add(number(residual, i));
      if (relu) v.value = std::min(std::max(v.value, 0.0), double{relu.top});
    }
    return y;
  }
  std::vector<double> inverses(const Moments& m) const {
    std::vector<double> all;
    for (size_t k = 0; k < channels; ++k) all.push_back(m.inverse(k, epsilon));
    return all;
  }

  /// y whose relu lets some of dy pass, as the gradient operators take it.
  Buffer kept_y(Case& c) const { return c.integers(x.shape(), 0, 2, dtype); }
  /// Behind the relu, of the elements that count.
  std::vector<double> gradient(const Buffer& y) const {
    std::vector<double> g = numbers(dy);
    for (size_t i = 0; i < g.size(); ++i) {
      const bool passes = !relu || (number(y, i) > 0 && number(y, i) < double{relu.top});
      if (!passes || i >= counted) g[i] = 0;
    }
    return g;
  }

  DType dtype;
  size_t channels = 0, counted = 0;  // counted: elements of samples that are no padding
  int64_t valid = 0;
  double rows = 0;  // of them
  Buffer lane, x, residual, dy, gamma, beta;
  bool add = false;
  FusedRelu relu = false;
  float epsilon = 1e-3F;
};

void expect_statistics(Case& c, const Batch& b, const Moments& m, const std::vector<Buffer>& out) {
  Sums mean, inverse, moments;
  for (size_t k = 0; k < b.channels; ++k) {
    mean.emplace_back(m.mean[k]).size += 1;
    inverse.emplace_back(m.inverse(k, b.epsilon));
    Sum squares(m.variance[k] * m.count[k]);
    squares.size += m.count[k] / 4;  // deviations have roundings of their own
    moments.insert(moments.end(), {Sum(m.count[k]), mean.back(), squares, Sum()});
  }
  c.near("mean", out[1], mean, 1e-6);
  c.near("inverse deviation", out[2], inverse, 3e-6);
  c.near("moments", out[3], moments, 5e-6);
}

}  // namespace

template <>
void property<BatchNormOp>(Case& c) {
  const Batch b(c);
  std::vector<Buffer> in{b.x, b.gamma, b.beta, b.lane};
  if (b.add) in.push_back(b.residual);
  const auto out = c.run(BatchNormOp(b.epsilon, b.relu, b.add), in);
  const Moments m = b.moments();
  c.near("y", out[0], b.result(m.mean, b.inverses(m), b.counted), 4e-6, 4e-6);
  expect_statistics(c, b, m, out);
}

template <>
void property<BatchNormInferenceOp>(Case& c) {
  const Batch b(c);
  const Buffer mean = c.uniform({b.x.shape()[-1]}), variance = c.uniform({b.x.shape()[-1]}, 0.1F, 2);
  std::vector<Buffer> in{b.x, b.gamma, b.beta, mean, variance};
  if (b.add) in.push_back(b.residual);
  std::vector<double> inverse;
  for (const double v : numbers(variance)) inverse.push_back(1 / std::sqrt(v + double{b.epsilon}));
  c.near("y", c.run(BatchNormInferenceOp(b.epsilon, b.relu, b.add), in)[0],
         b.result(numbers(mean), inverse, count(b.x)), 2e-6, 1e-6);
}

namespace {

/// What the gradient operators take and give, with `pixels` of whole images.
void batch_norm_gradient(Case& c, const Batch& b, bool in_parts) {
  const Moments m = b.moments();
  const std::vector<double> inverse = b.inverses(m);
  const Buffer y = b.kept_y(c);
  const Shape per_lane{1, b.x.shape()[-1]};
  std::vector<Buffer> in{b.x};
  if (b.relu) in.push_back(y);
  in.insert(in.end(), {b.dy, b.gamma, holding({per_lane}, m.mean), holding({per_lane}, inverse), b.lane});

  const std::vector<double> g = b.gradient(y), x = numbers(b.x);
  Sums sum(b.channels), product(b.channels);
  for (size_t i = 0; i < g.size(); ++i) {
    const size_t k = i % b.channels;
    sum[k].add(g[i]);
    product[k].add(g[i] * (x[i] - m.mean[k]));
    product[k].size += std::abs(g[i]) * std::abs(m.mean[k]);
  }
  const double rows = std::max(b.rows, 1.0);
  Sums dx, dresidual, dgamma, along_one(b.channels), along_x(b.channels);
  for (size_t k = 0; k < b.channels; ++k) {
    dgamma.push_back(product[k]);
    dgamma.back().value *= inverse[k], dgamma.back().size *= inverse[k];
  }
  for (size_t i = 0; i < g.size(); ++i) {
    const size_t k = i % b.channels;
    Sum& v = dx.emplace_back();
    dresidual.emplace_back(g[i]);
    if (i >= b.counted) continue;
    const double scale = number(b.gamma, k) * inverse[k];
    v.add(scale * g[i]);
    v.add(-scale * sum[k].value / rows);
    v.add(-scale * (x[i] - m.mean[k]) * inverse[k] * inverse[k] * product[k].value / rows);
    v.size += scale * (std::abs(m.mean[k]) + 1);
  }

  std::vector<Buffer> out;
  if (in_parts) {
    Shape sums = b.x.shape();
    sums[0] = 2, sums[1] = sums[2] = 1;
    std::vector<double> both;
    for (const Sums& of : {sum, product})
      for (const Sum& v : of) both.push_back(v.value);
    in.push_back(holding({sums}, both));
    const int64_t pixels = b.x.shape()[1] * b.x.shape()[2];
    out = c.run(BatchNormGradApplyOp(b.relu, b.add, pixels), in);
  } else {
    out = c.run(BatchNormGradOp(b.relu, b.add), in);
  }
  c.near("dx", out[0], dx, 4e-6);
  c.near("dgamma", out[1], dgamma, 4e-6);
  c.near("dbeta", out[2], sum);
  if (b.add) c.near("the residual's gradient", out[3], dresidual, 0);
  if (b.dtype != DType::f32) return;
  for (size_t i = 0; i < g.size(); ++i) {
    const size_t k = i % b.channels;
    const double got = number(out[0], i) / number(b.gamma, k), off = (x[i] - m.mean[k]) * inverse[k];
    along_one[k].add(got);
    if (i < b.counted) along_x[k].add(got * off);
  }
  // An epsilon beside the variance lets some of dx lie along x.
  for (size_t k = 0; k < b.channels; ++k) {
    const double bound = 1e-5 * inverse[k] * (1 + std::abs(m.mean[k])) * rows;
    c.near(fmt::format("the sum of dx in channel {}", k), along_one[k].value, 0.0, 0, bound);
    const double leaves = product[k].value * inverse[k] * inverse[k] * double{b.epsilon} * inverse[k] * inverse[k];
    c.near(fmt::format("the product of dx and x in channel {}", k), along_x[k].value, leaves, 0, bound);
  }
}

}  // namespace

template <>
void property<BatchNormGradOp>(Case& c) {
  batch_norm_gradient(c, Batch(c), false);
}

template <>
void property<BatchNormGradApplyOp>(Case& c) {
  batch_norm_gradient(c, Batch(c, true), true);
}

template <>
void property<BatchNormMomentsOp>(Case& c) {
  const Batch b(c, true);
  const auto out = c.run(BatchNormMomentsOp({1, 1}), {b.x, b.lane});
  const Moments m = b.moments();
  Sums expected;
  for (const double mean : m.mean) {
    Sum& v = expected.emplace_back(mean);
    v.size += 1;
  }
  for (size_t k = 0; k < b.channels; ++k) expected.emplace_back(m.variance[k] * m.count[k]);
  c.near("moments", out[0], expected, 5e-6, 5e-6);
}

template <>
void property<BatchNormApplyOp>(Case& c) {
  const Batch b(c, true);
  // The parts that the images are cut into, of which the kernel sees the whole here.
  const Shape& s = b.x.shape();
  const int64_t down = c.whole(1, std::min<int64_t>(s[1], 3)), across = c.whole(1, std::min<int64_t>(s[2], 3));
  const Moments m = b.moments();
  const auto part = [&](size_t i) {
    const auto pixel = static_cast<int64_t>(i / b.channels) % (s[1] * s[2]);
    // As even_slices: part k of n is [size * k / n, size * (k + 1) / n) or what it says.
    const auto slice = [](int64_t place, int64_t size, int64_t parts) {
      for (int64_t k = 0; k < parts; ++k)
        if (even_slices(size, static_cast<int>(parts))[static_cast<size_t>(k)].end > place) return k;
      return parts - 1;
    };
    return slice(pixel / s[2], s[1], down) * across + slice(pixel % s[2], s[2], across);
  };
  const Moments parts(numbers(b.x), static_cast<size_t>(down * across) * b.channels, [&](size_t i) {
    return i < b.counted ? part(i) * static_cast<int64_t>(b.channels) + static_cast<int64_t>(i % b.channels) : -1;
  });
  std::vector<double> told = parts.mean;
  for (size_t i = 0; i < parts.variance.size(); ++i) told.push_back(parts.variance[i] * parts.count[i]);
  std::vector<Buffer> in{b.x, b.gamma, b.beta, b.lane, holding({Shape{2, down, across, s[3]}}, told)};
  if (b.add) in.push_back(b.residual);
  const auto out = c.run(BatchNormApplyOp(b.epsilon, b.relu, b.add, s[1], s[2]), in);
  c.near("y", out[0], b.result(m.mean, b.inverses(m), b.counted), 4e-6, 4e-6);
  expect_statistics(c, b, m, out);
}

template <>
void property<BatchNormGradSumsOp>(Case& c) {
  const Batch b(c, true);
  const Moments m = b.moments();
  const Buffer y = b.kept_y(c);
  std::vector<Buffer> in{b.x};
  if (b.relu) in.push_back(y);
  in.insert(in.end(), {b.dy, holding({Shape{1, b.x.shape()[-1]}}, m.mean), b.lane});
  const Buffer out = c.run(BatchNormGradSumsOp(b.relu), in)[0];
  const std::vector<double> g = b.gradient(y);
  Sums sums(2 * b.channels);
  for (size_t i = 0; i < g.size(); ++i) {
    const size_t k = i % b.channels;
    sums[k].add(g[i]);
    sums[b.channels + k].add(g[i] * (number(b.x, i) - m.mean[k]));
    sums[b.channels + k].size += std::abs(g[i] * m.mean[k]);
  }
  c.near("sums", out, sums);
}

}  // namespace lockstep::test
