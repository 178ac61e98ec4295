// Layer and group normalisation by their formulas in double.
#include "tests/properties/moments.h"

namespace lockstep::test {

namespace {

/// Layer norm of any tensor, or group norm of images.
struct Grouped {
  explicit Grouped(Case& c) : dtype(c.dtype()) {
    Shape shape = c.one_in(3) ? Shape{c.whole(1, 30), c.channels()} : c.images();
    if (shape.rank() == 4 && c.coin()) {
      norm.over = NormOver::group;
      norm.groups = c.whole(1, 5);
      shape = c.images(norm.groups * c.whole(1, 14));
    }
    // One value alone has no variance: then all that is left is a rounding, divided by little.
    if (shape[-1] == 1 && norm.over == NormOver::channels) shape[-1] = 2;
    channels = static_cast<size_t>(shape[-1]);
    x = c.uniform(shape, -1, 1, dtype);
    dy = c.uniform(shape, -1, 1, dtype);
    gamma = c.uniform({shape[-1]}, 0.5F, 1.5F);
    beta = c.uniform({shape[-1]});
    const Shape statistics = norm.statistics(shape);
    groups = static_cast<size_t>(statistics.elements());
    type = {statistics};
  }
  int64_t group(size_t i) const {
    const size_t row = i / channels;
    if (norm.over == NormOver::channels) return static_cast<int64_t>(row);
    const size_t sample = i / (count(x) / static_cast<size_t>(x.shape()[0]));
    const auto all = static_cast<size_t>(norm.groups);
    return static_cast<int64_t>(sample * all + i % channels / (channels / all));
  }
  Moments moments() const {
    return {numbers(x), groups, [this](size_t i) { return group(i); }};
  }

  DType dtype;
  GroupNormAttributes norm;
  size_t channels = 0, groups = 0;
  Buffer x, dy, gamma, beta;
  Type type;
};

}  // namespace

template <>
void property<GroupNormOp>(Case& c) {
  const Grouped of(c);
  const auto out = c.run(GroupNormOp(of.norm), {of.x, of.gamma, of.beta});
  const Moments m = of.moments();
  Sums y, mean, inverse;
  for (size_t i = 0; i < count(of.x); ++i) {
    const auto g = static_cast<size_t>(of.group(i));
    const size_t k = i % of.channels;
    Sum& v = y.emplace_back((number(of.x, i) - m.mean[g]) * m.inverse(g, of.norm.epsilon) * number(of.gamma, k));
    v.add(number(of.beta, k));
    v.size += m.inverse(g, of.norm.epsilon);
  }
  for (size_t g = 0; g < of.groups; ++g) {
    mean.emplace_back(m.mean[g]).size += 1;
    inverse.emplace_back(m.inverse(g, of.norm.epsilon));
  }
  c.near("y", out[0], y);
  c.near("mean", out[1], mean, 1e-6);
  c.near("inverse deviation", out[2], inverse, 5e-6);
}

template <>
void property<GroupNormGradOp>(Case& c) {
  const Grouped of(c);
  const Moments m = of.moments();
  std::vector<double> inverse;
  for (size_t g = 0; g < of.groups; ++g) inverse.push_back(m.inverse(g, of.norm.epsilon));
  const auto out =
      c.run(GroupNormGradOp(of.norm), {of.x, of.dy, of.gamma, holding(of.type, m.mean), holding(of.type, inverse)});
  const size_t n = count(of.x);
  std::vector<double> normal(n), of_g(of.groups), of_product(of.groups), size(of.groups);
  Sums dgamma(of.channels), dbeta(of.channels), dx;
  for (size_t i = 0; i < n; ++i) {
    const auto g = static_cast<size_t>(of.group(i));
    const size_t k = i % of.channels;
    normal[i] = (number(of.x, i) - m.mean[g]) * inverse[g];
    const double dy = number(of.dy, i), weighted = dy * number(of.gamma, k);
    dbeta[k].add(dy);
    dgamma[k].add(dy * normal[i]);
    dgamma[k].size += std::abs(dy * inverse[g]);
    of_g[g] += weighted / m.count[g];
    of_product[g] += weighted * normal[i] / m.count[g];
  }
  for (size_t i = 0; i < n; ++i) {
    const auto g = static_cast<size_t>(of.group(i));
    const double weighted = number(of.dy, i) * number(of.gamma, i % of.channels);
    Sum& v = dx.emplace_back(inverse[g] * (weighted - of_g[g] - normal[i] * of_product[g]));
    v.size = inverse[g] * (2 + std::abs(normal[i]) + inverse[g]);
  }
  c.near("dx", out[0], dx);
  c.near("dgamma", out[1], dgamma);
  c.near("dbeta", out[2], dbeta);
}

}  // namespace lockstep::test
