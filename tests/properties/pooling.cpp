// Pools hand on all of dy; each pixel's share by plain loops over the windows.
#include "tests/properties/case.h"

namespace lockstep::test {

namespace {

/// Calls body(element of y, element of x, place in the window) for each pixel of each window inside its image.
template <class Body>
void each_pixel(const Window& window, const Shape& x, const Shape& y, Body body) {
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t r = 0; r < window.size[0]; ++r)
          for (int64_t s = 0; s < window.size[1]; ++s) {
            const int64_t h = p * window.stride[0] + r - window.pad_before[0];
            const int64_t w = q * window.stride[1] + s - window.pad_before[1];
            if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
            for (int64_t c = 0; c < x[3]; ++c) body(at(y, n, p, q, c), at(x, n, h, w, c), r * window.size[1] + s);
          }
}

/// The sums of dx and of dy are the same in each channel.
void expect_handed_on(Case& c, const Buffer& dx, const Buffer& dy, double relative) {
  const auto channels = static_cast<size_t>(dy.shape()[-1]);
  Sums given(channels), passed(channels);
  for (size_t i = 0; i < count(dy); ++i) given[i % channels].add(number(dy, i));
  for (size_t i = 0; i < count(dx); ++i) passed[i % channels].add(number(dx, i));
  for (size_t i = 0; i < channels; ++i)
    c.near(fmt::format("the sum of dx in channel {}", i), passed[i].value, given[i], relative, 1e-6);
}

struct Maxima {
  std::vector<double> y, place, from;  // from: where in x

  Maxima(const Window& window, const Buffer& x, const Shape& shape, bool relu)
      : y(static_cast<size_t>(shape.elements()), -1e30), place(y.size()), from(y.size()) {
    each_pixel(window, x.shape(), shape, [&](size_t out, size_t in, int64_t index) {
      if (!(number(x, in) > y[out])) return;
      y[out] = number(x, in);
      place[out] = static_cast<double>(index);
      from[out] = static_cast<double>(in);
    });
    if (relu)
      for (double& v : y) v = std::max(v, 0.0);
  }
};

struct MaxPoolCase {
  MaxPoolCase(Case& c)  // NOLINT
      : x(c.integers(c.images(), -3, 3, c.dtype())),
        window(c.window(x.shape())),
        relu(c.coin()),
        shape(window_output(window, x.shape())),
        maxima(window, x, shape, relu) {}
  Buffer x;
  Window window;
  bool relu;
  Shape shape;
  Maxima maxima;
};

Shape without_batch(Case& c, Shape x) {
  x[0] = c.whole(0, 3) + 1;
  return x;
}

}  // namespace

template <>
void property<MaxPoolOp>(Case& c) {
  const MaxPoolCase test(c);
  const auto out = c.run(MaxPoolOp(test.window, test.relu), {test.x});
  c.equal("y", out[0], test.maxima.y);
  c.equal("argmax", out[1], test.maxima.place);
}

template <>
void property<MaxPoolGradOp>(Case& c) {
  const MaxPoolCase test(c);
  const DType dtype = test.x.type().dtype;
  const Buffer argmax = holding({test.shape, DType::u8}, test.maxima.place);
  // Integers: sums are exact, of 16 bits, too.
  const Buffer dy = c.integers(test.shape, -4, 4, dtype);
  std::vector<Buffer> in{argmax, dy};
  if (test.relu) in.push_back(holding({test.shape, dtype}, test.maxima.y));
  const Buffer dx = c.run(MaxPoolGradOp(test.window, test.relu, without_batch(c, test.x.shape())), in)[0];
  std::vector<double> expected(count(test.x)), kept(numbers(dy));
  for (size_t i = 0; i < kept.size(); ++i) {
    if (test.relu && !(test.maxima.y[i] > 0)) kept[i] = 0;
    expected[static_cast<size_t>(test.maxima.from[i])] += kept[i];
  }
  expect_handed_on(c, dx, holding({test.shape}, kept), 0);
  c.equal("dx", dx, expected);
}

template <>
void property<AvgPoolOp>(Case& c) {
  const Buffer x = c.uniform(c.images(), -1, 1, c.dtype());
  const Window window = c.window(x.shape());
  const Shape shape = window_output(window, x.shape());
  const Buffer y = c.run(AvgPoolOp(window), {x})[0];
  Sums sums(static_cast<size_t>(shape.elements()));
  std::vector<double> pixels(sums.size());
  each_pixel(window, x.shape(), shape, [&](size_t out, size_t in, int64_t) {
    sums[out].add(number(x, in));
    ++pixels[out];
  });
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i].value /= pixels[i];
    sums[i].size /= pixels[i];
  }
  c.near("y", y, sums);
}

template <>
void property<AvgPoolGradOp>(Case& c) {
  const Shape x = c.images();
  const Window window = c.window(x);
  const Buffer dy = c.uniform(window_output(window, x), -1, 1, c.dtype());
  const Buffer dx = c.run(AvgPoolGradOp(window, without_batch(c, x)), {dy})[0];
  std::vector<double> pixels(count(dy));
  Sums sums(static_cast<size_t>(x.elements()));
  each_pixel(window, x, dy.shape(), [&](size_t out, size_t, int64_t) { ++pixels[out]; });
  each_pixel(window, x, dy.shape(),
             [&](size_t out, size_t in, int64_t) { sums[in].add(number(dy, out) / pixels[out]); });
  c.near("dx", dx, sums);
  if (dx.type().dtype == DType::f32) expect_handed_on(c, dx, dy, 2e-6);
}

template <>
void property<GlobalAvgPoolOp>(Case& c) {
  const Shape shape = c.images();
  const Buffer x = c.uniform(shape, -1, 1, c.dtype());
  // A part of an image is divided by the whole one's pixels.
  const int64_t pixels = shape[1] * shape[2] + (c.one_in(3) ? c.whole(1, 20) : 0);
  Sums sums(static_cast<size_t>(shape[0] * shape[3]));
  for (size_t i = 0; i < count(x); ++i) {
    const auto channels = static_cast<size_t>(shape[3]), image = channels * static_cast<size_t>(shape[1] * shape[2]);
    sums[i / image * channels + i % channels].add(number(x, i) / static_cast<double>(pixels));
  }
  c.near("y", c.run(GlobalAvgPoolOp(pixels), {x})[0], sums);
}

template <>
void property<GlobalAvgPoolGradOp>(Case& c) {
  const Shape shape = c.images();
  const Buffer dy = c.uniform({shape[0], shape[3]}, -1, 1, c.dtype());
  const int64_t pixels = shape[1] * shape[2];
  const Buffer dx = c.run(GlobalAvgPoolGradOp(pixels, without_batch(c, shape)), {dy})[0];
  Sums expected;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t pixel = 0; pixel < pixels; ++pixel)
      for (int64_t k = 0; k < shape[3]; ++k)
        expected.emplace_back(number(dy, static_cast<size_t>(n * shape[3] + k)) / static_cast<double>(pixels));
  c.near("dx", dx, expected);
  if (dx.type().dtype == DType::f32) expect_handed_on(c, dx, dy, 2e-6);
}

namespace {

/// The first pixel that has each channel's maximum.
std::vector<double> top_pixels(const Buffer& x) {
  const Shape& s = x.shape();
  std::vector<double> pixels;
  for (int64_t n = 0; n < s[0]; ++n)
    for (int64_t c = 0; c < s[3]; ++c) {
      int64_t best = 0;
      for (int64_t pixel = 1; pixel < s[1] * s[2]; ++pixel)
        if (number(x, at(s, n, 0, pixel, c)) > number(x, at(s, n, 0, best, c))) best = pixel;
      pixels.push_back(static_cast<double>(best));
    }
  return pixels;
}

}  // namespace

template <>
void property<GlobalMaxPoolOp>(Case& c) {
  const Buffer x = c.integers(c.images(), -9, 9, c.dtype());
  const Shape& s = x.shape();
  const auto out = c.run(GlobalMaxPoolOp(), {x});
  const std::vector<double> pixels = top_pixels(x);
  std::vector<double> y;
  for (size_t i = 0; i < pixels.size(); ++i) {
    const auto k = static_cast<int64_t>(i);
    y.push_back(number(x, at(s, k / s[3], 0, static_cast<int64_t>(pixels[i]), k % s[3])));
  }
  c.equal("y", out[0], y);
  c.equal("argmax", out[1], pixels);
}

template <>
void property<GlobalMaxPoolGradOp>(Case& c) {
  const Buffer x = c.integers(c.images(), -9, 9, c.dtype());
  const Shape& s = x.shape();
  const Buffer dy = c.integers({s[0], s[3]}, -4, 4, x.type().dtype);
  const std::vector<double> pixels = top_pixels(x);
  std::vector<double> expected(count(x));
  for (size_t i = 0; i < pixels.size(); ++i) {
    const auto k = static_cast<int64_t>(i);
    expected[at(s, k / s[3], 0, static_cast<int64_t>(pixels[i]), k % s[3])] = number(dy, i);
  }
  const Buffer dx = c.run(GlobalMaxPoolGradOp(without_batch(c, s)), {holding({dy.shape(), DType::i32}, pixels), dy})[0];
  expect_handed_on(c, dx, dy, 0);
  c.equal("dx", dx, expected);
}

}  // namespace lockstep::test
