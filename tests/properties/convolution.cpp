// Convolutions, dense layers and biases against plain loops.
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

/// A convolution of one of the kinds that kernels tell apart.
struct Convolution {
  explicit Convolution(Case& c) : dtype(c.dtype()) {
    int64_t filters = 0;
    switch (c.whole(0, 6)) {
      case 0:  // what Winograd's transforms take
        x = {c.whole(1, 3), c.whole(7, 11), c.whole(7, 11), 16 * c.whole(2, 3)};
        filters = 16 * c.whole(2, 3);
        conv = convolve({{3, 3}, {1, 1}, {c.whole(0, 2), c.whole(0, 2)}, {c.whole(0, 2), c.whole(0, 2)}});
        break;
      case 1:  // few filters, and as many images as lie side by side in a vector
        x = {c.one_of({6, 7, 8, 13, 16}), c.whole(3, 9), c.whole(3, 9), c.whole(1, 9)};
        filters = c.whole(1, 8);
        conv = convolve(c.window(x, 5));
        break;
      case 2:  // few channels
        x = c.images(c.whole(1, 4));
        filters = 16 * c.whole(1, 3);
        conv = convolve(c.window(x));
        break;
      case 3:  // a filter a channel
        x = c.images();
        filters = x[3];
        conv = convolve(c.window(x, 7, true), x[3]);
        break;
      case 4: {  // in groups
        const int64_t groups = c.whole(2, 6);
        x = c.images(groups * c.whole(1, 11));
        filters = groups * c.whole(1, 11);
        conv = convolve(c.window(x, 3, true), groups);
        break;
      }
      case 5:
        x = c.images();
        filters = c.channels();
        conv = convolve({{1, 1}, {c.whole(1, 3), c.whole(1, 3)}});
        break;
      default:
        x = c.images();
        filters = c.channels();
        conv = convolve(c.window(x, 4, true));
    }
    y = window_output(conv.window(), x);
    // So that plain loops take milliseconds.
    const int64_t terms = y[0] * y[1] * y[2] * conv.kernel[0] * conv.kernel[1] * x[3] / conv.groups;
    if (conv.groups == 1) filters = std::min(filters, std::max<int64_t>(3000000 / terms / 16 * 16, 16));
    y[3] = filters;
    w = {filters, conv.kernel[0], conv.kernel[1], x[3] / conv.groups};
  }

  /// body(element of y, of x, of w) for each product.
  template <class Body>
  void each_product(Body body) const {
    const int64_t width = w[3], per_group = y[3] / conv.groups;
    for (int64_t n = 0; n < y[0]; ++n)
      for (int64_t p = 0; p < y[1]; ++p)
        for (int64_t q = 0; q < y[2]; ++q)
          for (int64_t r = 0; r < w[1]; ++r)
            for (int64_t s = 0; s < w[2]; ++s) {
              const int64_t h = p * conv.stride[0] + r * conv.dilation[0] - conv.pad_before[0];
              const int64_t v = q * conv.stride[1] + s * conv.dilation[1] - conv.pad_before[1];
              if (h < 0 || h >= x[1] || v < 0 || v >= x[2]) continue;
              for (int64_t k = 0; k < y[3]; ++k) {
                const size_t out = at(y, n, p, q, k), in = at(x, n, h, v, k / per_group * width);
                const size_t weight = at(w, k, r, s, 0);
                for (size_t i = 0; i < static_cast<size_t>(width); ++i) body(out, in + i, weight + i);
              }
            }
  }

  Conv2dAttributes conv;
  DType dtype;
  Shape x, w, y;
};

/// Weights that the type of the images can hold: of 16 bits, products are of such numbers.
Buffer weights(Case& c, const Shape& shape, DType dtype) {
  return holding({shape}, numbers(c.uniform(shape, -1, 1, dtype)));
}

Sums zeros(const Shape& shape) { return Sums(static_cast<size_t>(shape.elements())); }

/// y + b, then relu.
void finish(Sums& y, const std::vector<double>& bias, bool relu) {
  for (size_t i = 0; i < y.size(); ++i) {
    if (!bias.empty()) y[i].add(bias[i % bias.size()]);
    if (relu) y[i].value = std::max(y[i].value, 0.0);
  }
}

/// The sums of a matrix's columns.
Sums column_sums(const std::vector<double>& matrix, int64_t columns) {
  Sums sums(static_cast<size_t>(columns));
  for (size_t i = 0; i < matrix.size(); ++i) sums[i % sums.size()].add(matrix[i]);
  return sums;
}

constexpr double tolerance = 4e-6;
/// The library shares sums among threads.
const Contract by_threads{.by_threads = true};

}  // namespace

template <>
void property<Conv2dOp>(Case& c) {
  const Convolution of(c);
  const bool bias = c.coin(), relu = c.coin();
  std::vector<Buffer> in{c.uniform(of.x, -1, 1, of.dtype), weights(c, of.w, of.dtype)};
  if (bias) in.push_back(c.uniform({of.y[3]}));
  const Buffer y = c.run(Conv2dOp(of.conv, bias, relu), in, by_threads)[0];
  const std::vector<double> x = numbers(in[0]), w = numbers(in[1]);
  Sums sums = zeros(of.y);
  of.each_product([&](size_t out, size_t from, size_t weight) { sums[out].add(x[from] * w[weight]); });
  finish(sums, bias ? numbers(in[2]) : std::vector<double>(), relu);
  c.near("y", y, sums, tolerance);
}

template <>
void property<Conv2dDataGradOp>(Case& c) {
  const Convolution of(c);
  const std::vector<Buffer> in{weights(c, of.w, of.dtype), c.uniform(of.y, -1, 1, of.dtype)};
  Shape x = of.x;
  x[0] += c.whole(0, 2);  // the batch follows dy
  const Buffer dx = c.run(Conv2dDataGradOp(of.conv, x), in, by_threads)[0];
  const std::vector<double> w = numbers(in[0]), dy = numbers(in[1]);
  Sums sums = zeros(of.x);
  of.each_product([&](size_t out, size_t from, size_t weight) { sums[from].add(dy[out] * w[weight]); });
  c.near("dx", dx, sums, tolerance);
}

template <>
void property<Conv2dWeightGradOp>(Case& c) {
  const Convolution of(c);
  const bool bias = c.coin();
  const std::vector<Buffer> in{c.uniform(of.x, -1, 1, of.dtype), c.uniform(of.y, -1, 1, of.dtype)};
  const auto out = c.run(Conv2dWeightGradOp(of.conv, bias), in, by_threads);
  const std::vector<double> x = numbers(in[0]), dy = numbers(in[1]);
  Sums sums = zeros(of.w);
  of.each_product([&](size_t y, size_t from, size_t weight) { sums[weight].add(dy[y] * x[from]); });
  c.near("dw", out[0], sums, tolerance);
  if (bias) c.near("db", out[1], column_sums(dy, of.y[3]), tolerance);
}

template <>
void property<BiasOp>(Case& c) {
  const Shape shape = c.images();
  const Buffer x = c.uniform(shape, -1, 1, c.dtype()), b = c.uniform({shape[3]});
  Sums sums;
  for (const double v : numbers(x)) sums.emplace_back(v);
  finish(sums, numbers(b), false);
  c.near("y", c.run(BiasOp(), {x, b})[0], sums);
}

template <>
void property<BiasGradOp>(Case& c) {
  const Buffer dy = c.uniform(c.images(), -1, 1, c.dtype());
  c.near("db", c.run(BiasGradOp(), {dy})[0], column_sums(numbers(dy), dy.shape()[3]));
}

namespace {

/// x [n,f], w [k,f], y [n,k].
struct Product {
  explicit Product(Case& c)
      : n(c.coin() ? c.whole(1, 9) : c.whole(1, 40)),
        k(c.coin() ? c.whole(1, 12) : c.channels()),
        f(c.one_in(6) ? c.whole(300, 1100) : c.channels()),
        dtype(c.dtype()),
        x(c.uniform({n, f}, -1, 1, dtype)),
        w(weights(c, {k, f}, dtype)),
        dy(c.uniform({n, k}, -1, 1, dtype)) {}

  /// body(element of y, of x, of w) for each product.
  template <class Body>
  void each_product(Body body) const {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < k; ++j)
        for (int64_t l = 0; l < f; ++l)
          body(static_cast<size_t>(i * k + j), static_cast<size_t>(i * f + l), static_cast<size_t>(j * f + l));
  }

  int64_t n, k, f;
  DType dtype;
  Buffer x, w, dy;
};

}  // namespace

template <>
void property<DenseOp>(Case& c) {
  const Product of(c);
  const bool bias = c.coin(), relu = c.coin();
  std::vector<Buffer> in{of.x, of.w};
  if (bias) in.push_back(c.uniform({of.k}));
  const Buffer y = c.run(DenseOp(bias, relu), in, by_threads)[0];
  const std::vector<double> x = numbers(of.x), w = numbers(of.w);
  Sums sums = zeros({of.n, of.k});
  of.each_product([&](size_t out, size_t from, size_t weight) { sums[out].add(x[from] * w[weight]); });
  finish(sums, bias ? numbers(in[2]) : std::vector<double>(), relu);
  c.near("y", y, sums, tolerance);
}

template <>
void property<DenseDataGradOp>(Case& c) {
  const Product of(c);
  const Buffer dx = c.run(DenseDataGradOp(), {of.w, of.dy}, by_threads)[0];
  const std::vector<double> w = numbers(of.w), dy = numbers(of.dy);
  Sums sums = zeros({of.n, of.f});
  of.each_product([&](size_t out, size_t from, size_t weight) { sums[from].add(dy[out] * w[weight]); });
  c.near("dx", dx, sums, tolerance);
}

template <>
void property<DenseWeightGradOp>(Case& c) {
  const Product of(c);
  const bool bias = c.coin();
  const auto out = c.run(DenseWeightGradOp(bias), {of.x, of.dy}, by_threads);
  const std::vector<double> x = numbers(of.x), dy = numbers(of.dy);
  Sums sums = zeros({of.k, of.f});
  of.each_product([&](size_t y, size_t from, size_t weight) { sums[weight].add(dy[y] * x[from]); });
  c.near("dw", out[0], sums, tolerance);
  if (bias) c.near("db", out[1], column_sums(dy, of.k), tolerance);
}

}  // namespace lockstep::test
