// Operators whose outputs are each made of one element of each input, against the functions of the C library.
#include <functional>

#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

Sums mapped(const Buffer& a, const std::function<Sum(double)>& f) {
  Sums all;
  for (const double x : numbers(a)) all.push_back(f(x));
  return all;
}
Sums mapped(const Buffer& a, const Buffer& b, const std::function<Sum(double, double)>& f) {
  Sums all;
  for (size_t i = 0; i < count(a); ++i) all.push_back(f(number(a, i), number(b, i)));
  return all;
}
Sum plus(double a, double b) {
  Sum sum(a);
  sum.add(b);
  return sum;
}

/// Values of both signs, none so near 0 that a kink is not clear.
Buffer values(Case& c, const Shape& shape, DType dtype, float most = 4) {
  const Buffer any = c.uniform(shape, -most, most, dtype);
  std::vector<double> apart;
  for (const double x : numbers(any)) apart.push_back(std::abs(x) < 1e-3 ? 0.5 : x);
  return holding(any.type(), apart);
}

}  // namespace

template <>
void property<ReluOp>(Case& c) {
  const Buffer x = c.uniform(c.shape(), -1, 1, c.dtype());
  c.equal("y", c.run(ReluOp(), {x})[0], [&] {
    std::vector<double> y = numbers(x);
    for (double& v : y) v = std::max(v, 0.0);
    return y;
  }());
}

template <>
void property<ReluGradOp>(Case& c) {
  const Shape shape = c.shape();
  const DType dtype = c.dtype();
  const Buffer y = c.integers(shape, 0, 2, dtype), dy = c.uniform(shape, -1, 1, dtype);
  c.near("dx", c.run(ReluGradOp(), {y, dy})[0], mapped(y, dy, [](double v, double g) { return v > 0 ? g : 0.0; }), 0);
}

namespace {

/// A curve and, in double, its value and slope.
struct Function {
  Curve curve;
  std::function<double(double)> value, slope;
};

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

Function drawn_function(Case& c) {
  using Kind = Curve::Kind;
  const auto smooth = [](Kind kind, std::function<double(double)> f, float slope = 0) {
    return Function{{.kind = kind, .slope = slope}, f, [f](double x) { return slope_at(x, f); }};
  };
  const auto bounded = [](double x) { return std::clamp(x, 0.0, 6.0); };
  const float slope = c.real(0, 1.5F);
  const double a = double{slope};
  switch (c.whole(0, 9)) {
    case 0:
      return smooth(Kind::sigmoid, logistic);
    case 1:
      return smooth(Kind::tanh, [](double x) { return std::tanh(x); });
    case 2:
      return smooth(Kind::silu, [](double x) { return x * logistic(x); });
    case 3:
      return smooth(Kind::gelu, [](double x) { return x * std::erfc(-x / std::sqrt(2.0)) / 2; });
    case 4:
      return smooth(Kind::gelu_tanh, [](double x) {
        return x * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x))) / 2;
      });
    case 5:
      return {{.kind = Kind::elu, .slope = slope},
              [=](double x) { return x >= 0 ? x : a * std::expm1(x); },
              [=](double x) { return x > 0 ? 1 : a * std::exp(x); }};
    case 6:
      return {{.kind = Kind::hard_sigmoid},
              [=](double x) { return bounded(x + 3) / 6; },
              [](double x) { return x > -3 && x < 3 ? 1.0 / 6 : 0; }};
    case 7:
      return {{.kind = Kind::hard_silu},
              [=](double x) { return x * bounded(x + 3) / 6; },
              [](double x) { return x > -3 ? (x < 3 ? (2 * x + 3) / 6 : 1) : 0; }};
    case 8:
      return smooth(
          Kind::linear, [=](double x) { return a * x; }, slope);
    default: {
      const float threshold = c.coin() ? 0 : c.real(0.1F, 1);
      const float top = c.coin() ? std::numeric_limits<float>::infinity() : c.real(2, 6);
      const double cut = double{threshold}, most = double{top};
      return {{.kind = Kind::relu, .slope = slope, .threshold = threshold, .top = top},
              [=](double x) { return x >= most ? most : (x >= cut ? x : a * (x - cut)); },
              [=](double x) { return x >= most ? 0 : (x >= cut ? 1 : a); }};
    }
  }
}

}  // namespace

template <>
void property<ActivationOp>(Case& c) {
  const Function f = drawn_function(c);
  const Buffer x = values(c, c.shape(), c.dtype(), 8);
  c.near("y", c.run(ActivationOp(f.curve), {x})[0],
         mapped(x,
                [&](double v) {
                  Sum y(f.value(v));
                  y.size += std::abs(v);  // products with what is within 2e-7 of it
                  return y;
                }),
         1e-6, 1e-6);
}

template <>
void property<ActivationGradOp>(Case& c) {
  const Function f = drawn_function(c);
  const Shape shape = c.shape();
  const DType dtype = c.dtype();
  Buffer x = values(c, shape, dtype, 8);
  if (!f.curve.gradient_of_input() && dtype != DType::f32)
    x = c.uniform(shape, 0.1F, 2, dtype);  // of a rounded y there is more than one x: see below
  const Buffer dy = c.uniform(shape, -1, 1, dtype);
  std::vector<double> kept = numbers(x);
  if (!f.curve.gradient_of_input())
    for (double& v : kept) v = f.value(v);
  const Buffer from = holding(x.type(), kept);
  // What a y rounded to 16 bits says of the slope is as rough as the y itself.
  const double rough = f.curve.gradient_of_input() || dtype == DType::f32 ? 4e-6 : (dtype == DType::f16 ? 4e-3 : 3e-2);
  c.near("dx", c.run(ActivationGradOp(f.curve), {from, dy})[0],
         mapped(x, dy, [&](double v, double g) { return Sum(g * f.slope(v)); }), rough, rough);
}

template <>
void property<AddOp>(Case& c) {
  const Shape shape = c.shape();
  const DType dtype = c.dtype();
  const Buffer a = c.uniform(shape, -1, 1, dtype), b = c.uniform(shape, -1, 1, dtype);
  c.near("y", c.run(AddOp(), {a, b})[0], mapped(a, b, plus), 1e-7);
}

namespace {

struct Gated {
  explicit Gated(Case& c) : shape(c.images()), dtype(c.dtype()) {}
  Shape gates() const { return {shape[0], 1, 1, shape[3]}; }
  size_t gate(size_t i) const {
    const auto channels = static_cast<size_t>(shape[3]), image = channels * static_cast<size_t>(shape[1] * shape[2]);
    return i / image * channels + i % channels;
  }
  Shape shape;
  DType dtype;
};

}  // namespace

template <>
void property<MultiplyOp>(Case& c) {
  if (c.coin()) {
    const Shape shape = c.shape();
    const DType dtype = c.dtype();
    const Buffer a = c.uniform(shape, -1, 1, dtype), b = c.uniform(shape, -1, 1, dtype);
    c.near("y", c.run(MultiplyOp(false), {a, b})[0], mapped(a, b, std::multiplies<double>()), 1e-7);
    return;
  }
  const Gated of(c);
  const Buffer a = c.uniform(of.shape, -1, 1, of.dtype), b = c.uniform(of.gates(), -1, 1, of.dtype);
  Sums y;
  for (size_t i = 0; i < count(a); ++i) y.emplace_back(number(a, i) * number(b, of.gate(i)));
  c.near("y", c.run(MultiplyOp(true), {a, b})[0], y, 1e-7);
}

template <>
void property<GateGradOp>(Case& c) {
  const Gated of(c);
  const Buffer a = c.uniform(of.shape, -1, 1, of.dtype), dy = c.uniform(of.shape, -1, 1, of.dtype);
  Sums sums(static_cast<size_t>(of.gates().elements()));
  for (size_t i = 0; i < count(a); ++i) sums[of.gate(i)].add(number(a, i) * number(dy, i));
  c.near("db", c.run(GateGradOp(), {a, dy})[0], sums);
}

template <>
void property<ExtremumOp>(Case& c) {
  const Extremum which = c.one_of({Extremum::maximum, Extremum::minimum});
  const Shape shape = c.shape();
  const DType dtype = c.dtype();
  const Buffer a = c.integers(shape, -3, 3, dtype), b = c.integers(shape, -3, 3, dtype);
  c.near("y", c.run(ExtremumOp(which), {a, b})[0],
         mapped(a, b, [&](double x, double y) { return which == Extremum::maximum ? std::max(x, y) : std::min(x, y); }),
         0);
}

template <>
void property<ExtremumGradOp>(Case& c) {
  const Extremum which = c.one_of({Extremum::maximum, Extremum::minimum});
  const Shape shape = c.shape();
  const DType dtype = c.dtype();
  const Buffer a = c.integers(shape, -3, 3, dtype), b = c.integers(shape, -3, 3, dtype);
  const Buffer dy = c.integers(shape, -4, 4, dtype);
  const auto out = c.run(ExtremumGradOp(which), {a, b, dy});
  std::vector<double> da, db;
  for (size_t i = 0; i < count(a); ++i) {
    const double x = number(a, i), y = number(b, i), g = number(dy, i);
    const bool first = which == Extremum::maximum ? x >= y : x <= y;
    da.push_back(first ? g : 0);
    db.push_back(first ? 0 : g);
  }
  c.equal("da", out[0], da);
  c.equal("db", out[1], db);
}

namespace {

/// x, and an alpha that the first dimensions of a sample share.
struct Prelu {
  explicit Prelu(Case& c) : dtype(c.dtype()) {
    Shape shape = c.one_in(3) ? Shape{c.whole(1, 9), c.channels()} : c.images();
    shared = static_cast<int>(c.whole(0, shape.rank() - 2));
    std::vector<int64_t> dims;
    for (int d = 1; d < shape.rank(); ++d) dims.push_back(d <= shared ? 1 : shape[d]);
    rank = shape.rank();
    x = c.coin() ? values(c, shape, dtype) : c.integers(shape, -2, 2, dtype);
    alpha = c.uniform(Shape(std::span<const int64_t>(dims)), 0.1F, 0.9F);
  }
  DType dtype;
  int rank = 0, shared = 0;
  Buffer x, alpha;
};

}  // namespace

template <>
void property<PreluOp>(Case& c) {
  const Prelu of(c);
  Sums y;
  for (size_t i = 0; i < count(of.x); ++i) {
    const double v = number(of.x, i);
    y.emplace_back(v > 0 ? v : v * number(of.alpha, i % count(of.alpha)));
  }
  c.near("y", c.run(PreluOp(of.rank, of.shared), {of.x, of.alpha})[0], y, 1e-7);
}

template <>
void property<PreluGradOp>(Case& c) {
  const Prelu of(c);
  const Buffer dy = c.uniform(of.x.shape(), -1, 1, of.dtype);
  const auto out = c.run(PreluGradOp(of.rank, of.shared), {of.x, of.alpha, dy});
  Sums dx, dalpha(count(of.alpha));
  for (size_t i = 0; i < count(dy); ++i) {
    const double v = number(of.x, i), g = number(dy, i);
    dx.emplace_back(v > 0 ? g : g * number(of.alpha, i % dalpha.size()));
    if (v < 0) dalpha[i % dalpha.size()].add(v * g);
  }
  c.near("dx", out[0], dx, 1e-7);
  c.near("dalpha", out[1], dalpha);
}

template <>
void property<CastOp>(Case& c) {
  // Any type to any other, on the CPU too; both roundings are in `holding`.
  const auto types = {DType::f32, DType::f16, DType::bf16};
  const DType from = c.one_of(types), to = c.one_of(types);
  const Buffer x = c.uniform(c.shape(), -300, 300, from);
  c.equal("y", c.run(CastOp(to), {x})[0], numbers(holding({x.shape(), to}, numbers(x))));
}

}  // namespace lockstep::test
