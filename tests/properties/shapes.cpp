// Operators that move elements, and enlargement, each element by itself; softmax.
#include <numeric>

#include "tests/properties/case.h"

namespace lockstep::test {

template <>
void property<PadOp>(Case& c) {
  const Buffer x = c.uniform(c.images(), -1, 1, c.dtype());
  const Shape& s = x.shape();
  Size2 before{}, after{};
  for (size_t d = 0; d < 2; ++d) {
    // More may be taken away at one end than there is, where the other adds it.
    const int64_t length = s[static_cast<int>(d) + 1];
    before[d] = c.whole(-std::min<int64_t>(length + 1, 4), 4);
    after[d] = c.whole(std::max<int64_t>(1 - length - before[d], -4), c.whole(1, 4) + std::max<int64_t>(-before[d], 0));
  }
  const Shape shape{s[0], s[1] + before[0] + after[0], s[2] + before[1] + after[1], s[3]};
  std::vector<double> expected;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t p = 0; p < shape[1]; ++p)
      for (int64_t q = 0; q < shape[2]; ++q)
        for (int64_t k = 0; k < shape[3]; ++k) {
          const int64_t h = p - before[0], w = q - before[1];
          const bool inside = h >= 0 && h < s[1] && w >= 0 && w < s[2];
          expected.push_back(inside ? number(x, at(s, n, h, w, k)) : 0);
        }
  c.equal("y", c.run(PadOp(before, after), {x})[0], expected);
}

namespace {

/// Some rows and columns of an image, and all or some of the outputs that these suffice for.
struct Enlarged {
  explicit Enlarged(Case& c) : interpolation(c.one_of({Interpolation::nearest, Interpolation::bilinear})) {
    Shape x = c.images(), y = x;
    for (size_t d = 0; d < 2; ++d) {
      const int64_t here = x[static_cast<int>(d) + 1];
      Enlargement& e = size[d];
      e.factor = c.whole(1, 4);
      const int64_t above = c.one_in(3) ? c.whole(1, 3) : 0, below = c.one_in(3) ? c.whole(1, 3) : 0;
      e.length = above + here + below;
      e.in = {above, above + here};
      // Those that lie between rows which are here.
      e.out = {above * e.factor, (above + here) * e.factor};
      while (lowest(e, e.out.begin) < e.in.begin) ++e.out.begin;
      while (e.out.end > e.out.begin && highest(e, e.out.end - 1) >= e.in.end) --e.out.end;
      if (e.out.size() < 1) {  // one pixel between others: whole instead
        e.length = here;
        e.in = {0, here};
        e.out = {0, here * e.factor};
      }
      y[static_cast<int>(d) + 1] = e.out.size();
    }
    in = x;
    out = y;
  }
  /// Where output i lies, in inputs of the whole direction.
  double place(const Enlargement& e, int64_t i) const {
    if (interpolation == Interpolation::nearest) return static_cast<double>(i / e.factor);
    const double at = (static_cast<double>(i) + 0.5) / static_cast<double>(e.factor) - 0.5;
    return std::clamp(at, 0.0, static_cast<double>(e.length - 1));
  }
  int64_t lowest(const Enlargement& e, int64_t i) const { return static_cast<int64_t>(std::floor(place(e, i))); }
  /// Of the two inputs, also where it takes nothing of it.
  int64_t highest(const Enlargement& e, int64_t i) const {
    const bool between = interpolation == Interpolation::bilinear && place(e, i) > 0;
    return std::min(lowest(e, i) + (between ? 1 : 0), e.length - 1);
  }
  double share(const Enlargement& e, int64_t i) const { return place(e, i) - std::floor(place(e, i)); }

  /// body(element of y, of x, share).
  template <class Body>
  void each_share(Body body) const {
    for (int64_t n = 0; n < out[0]; ++n)
      for (int64_t p = 0; p < out[1]; ++p)
        for (int64_t q = 0; q < out[2]; ++q)
          for (const int64_t down : {0, 1})
            for (const int64_t right : {0, 1}) {
              const int64_t i = p + size[0].out.begin, j = q + size[1].out.begin;
              const double rows = down ? share(size[0], i) : 1 - share(size[0], i);
              const double columns = right ? share(size[1], j) : 1 - share(size[1], j);
              if (rows * columns == 0) continue;
              const int64_t h = lowest(size[0], i) + down - size[0].in.begin;
              const int64_t w = lowest(size[1], j) + right - size[1].in.begin;
              for (int64_t k = 0; k < out[3]; ++k) body(at(out, n, p, q, k), at(in, n, h, w, k), rows * columns);
            }
  }

  Interpolation interpolation;
  std::array<Enlargement, 2> size;
  Shape in, out;
};

}  // namespace

template <>
void property<UpSampleOp>(Case& c) {
  const Enlarged of(c);
  const Buffer x = c.uniform(of.in, -1, 1, c.dtype());
  Sums y(static_cast<size_t>(of.out.elements()));
  of.each_share([&](size_t out, size_t in, double share) { y[out].add(share * number(x, in)); });
  c.near("y", c.run(UpSampleOp(of.size, of.interpolation), {x})[0], y, 5e-7);
}

template <>
void property<UpSampleGradOp>(Case& c) {
  const Enlarged of(c);
  const Buffer dy = c.uniform(of.out, -1, 1, c.dtype());
  Sums dx(static_cast<size_t>(of.in.elements()));
  Sum given, passed;
  of.each_share([&](size_t out, size_t in, double share) { dx[in].add(share * number(dy, out)); });
  const Buffer got = c.run(UpSampleGradOp(of.size, of.interpolation), {dy})[0];
  c.near("dx", got, dx);
  for (const double v : numbers(dy)) given.add(v);
  for (const double v : numbers(got)) passed.add(v);
  if (got.type().dtype == DType::f32) c.near("the sum of dx", passed.value, given);
}

template <>
void property<PermuteOp>(Case& c) {
  const Shape s = c.one_in(3) ? Shape{c.whole(1, 5), c.whole(1, 40), c.channels()} : c.images();
  const Buffer x = c.uniform(s, -1, 1, c.dtype());
  std::vector<int> order(static_cast<size_t>(s.rank()));
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin() + 1, order.end(), std::mt19937(c.seed()));
  Shape y = s;
  for (int d = 0; d < s.rank(); ++d) y[d] = s[order[static_cast<size_t>(d)]];
  std::vector<double> expected(count(x));
  for (size_t i = 0; i < expected.size(); ++i) {
    // The output's coordinates, from the last to the first, and with them the input's.
    std::array<int64_t, Shape::max_rank> from{};
    auto left = static_cast<int64_t>(i);
    for (int d = s.rank() - 1; d >= 0; --d) {
      from[static_cast<size_t>(order[static_cast<size_t>(d)])] = left % y[d];
      left /= y[d];
    }
    int64_t place = 0;
    for (int d = 0; d < s.rank(); ++d) place = place * s[d] + from[static_cast<size_t>(d)];
    expected[i] = number(x, static_cast<size_t>(place));
  }
  c.equal("y", c.run(PermuteOp(order), {x})[0], expected);
}

template <>
void property<ConcatOp>(Case& c) {
  const Shape whole = c.one_in(3) ? Shape{c.whole(1, 20), 1} : c.images();
  const DType dtype = c.dtype();
  std::vector<Buffer> in;
  for (int64_t i = c.whole(1, 4); i > 0; --i) {
    Shape part = whole;
    part[-1] = c.coin() ? c.whole(1, 9) : std::min<int64_t>(c.channels(), 40);
    in.push_back(c.uniform(part, -1, 1, dtype));
  }
  const int64_t rows = whole.elements() / whole[-1];
  std::vector<double> expected;
  for (int64_t row = 0; row < rows; ++row)
    for (const Buffer& part : in)
      for (int64_t k = 0; k < part.shape()[-1]; ++k)
        expected.push_back(number(part, static_cast<size_t>(row * part.shape()[-1] + k)));
  c.equal("y", c.run(ConcatOp(in.size()), in)[0], expected);
}

template <>
void property<SliceOp>(Case& c) {
  const Buffer x = c.uniform(c.one_in(3) ? Shape{c.whole(1, 20), c.channels()} : c.images(), -1, 1, c.dtype());
  const int64_t width = x.shape()[-1], begin = c.whole(0, width - 1), end = c.whole(begin + 1, width);
  std::vector<double> expected;
  for (size_t i = 0; i < count(x); ++i) {
    const int64_t k = static_cast<int64_t>(i) % width;
    if (k >= begin && k < end) expected.push_back(number(x, i));
  }
  c.equal("y", c.run(SliceOp(begin, end), {x})[0], expected);
}

namespace {

Shape rows_of_classes(Case& c) {
  return c.one_in(3) ? c.images() : Shape{c.one_in(8) && !on_cuda() ? 1200 : c.whole(1, 20), c.channels()};
}

/// Softmax of each row of the last dimension.
std::vector<double> softmax(const Buffer& x) {
  const auto width = static_cast<size_t>(x.shape()[-1]);
  std::vector<double> y = numbers(x);
  for (size_t row = 0; row < y.size(); row += width) {
    double top = y[row], sum = 0;
    for (size_t k = 0; k < width; ++k) top = std::max(top, y[row + k]);
    for (size_t k = 0; k < width; ++k) sum += y[row + k] = std::exp(y[row + k] - top);
    for (size_t k = 0; k < width; ++k) y[row + k] /= sum;
  }
  return y;
}

}  // namespace

template <>
void property<SoftmaxOp>(Case& c) {
  const float range = c.one_of({1.0F, 8.0F, 60.0F});
  const Buffer x = c.uniform(rows_of_classes(c), -range, range);
  const std::vector<double> expected = softmax(x);
  const Buffer y = c.run(SoftmaxOp(), {x})[0];
  // x - max has a rounding of its own, by which exp(x - max) is off.
  c.near("y", y, Sums(expected.begin(), expected.end()), 1e-6 + 1.2e-7 * double{range}, 1e-30);
  const auto width = static_cast<size_t>(x.shape()[-1]);
  for (size_t row = 0; row < count(y); row += width) {
    double sum = 0;
    for (size_t k = 0; k < width; ++k) sum += number(y, row + k);
    c.near("the sum of a row", sum, 1.0, 1e-6);
  }
}

template <>
void property<SoftmaxGradOp>(Case& c) {
  const Buffer x = c.uniform(rows_of_classes(c), -4, 4), y = holding(x.type(), softmax(x));
  const Buffer dy = c.uniform(x.shape());
  const Buffer dx = c.run(SoftmaxGradOp(), {y, dy})[0];
  const auto width = static_cast<size_t>(x.shape()[-1]);
  Sums expected;
  for (size_t row = 0; row < count(y); row += width) {
    double dot = 0, sum = 0, size = 0;
    for (size_t k = 0; k < width; ++k) dot += number(y, row + k) * number(dy, row + k);
    for (size_t k = 0; k < width; ++k) {
      Sum term(number(y, row + k) * (number(dy, row + k) - dot));
      term.size = number(y, row + k) * 2;
      expected.push_back(term);
      sum += number(dx, row + k);
      size += std::abs(number(dx, row + k));
    }
    c.near("the sum of a row of dx", sum, 0.0, 0, 1e-6 * (1 + size));
  }
  c.near("dx", dx, expected, 1e-6);
}

}  // namespace lockstep::test
