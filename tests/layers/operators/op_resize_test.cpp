// Padding, upsampling, biases and the global maximum against obvious references on numbers that are exact, and against
// finite differences.
#include <limits>
#include <numeric>

#include "layers/linear/bias.h"
#include "layers/pooling/global_max_pool.h"
#include "layers/reshaping/up_sample.h"
#include "layers/reshaping/zero_padding.h"
#include "tests/support/op_check.h"

namespace lockstep::test {
namespace {

using Doubles = std::vector<double>;

std::array<Enlargement, 2> enlargement(const Shape& x, Size2 factor) {
  std::array<Enlargement, 2> size;
  for (size_t d = 0; d < 2; ++d) {
    const int64_t length = x[static_cast<int>(d) + 1];
    size[d] = {factor[d], length, {0, length}, {0, length * factor[d]}};
  }
  return size;
}

/// The place of [n, h, w, c].
size_t at(const Shape& s, int64_t n, int64_t h, int64_t w, int64_t c) {
  return static_cast<size_t>(((n * s[1] + h) * s[2] + w) * s[3] + c);
}

/// Output i's weights over the inputs, from the definition.
Doubles weights(int64_t i, int64_t length, int64_t factor, Interpolation interpolation) {
  Doubles of(static_cast<size_t>(length));
  if (interpolation == Interpolation::nearest) {
    of[static_cast<size_t>(i / factor)] = 1;
    return of;
  }
  const double most = static_cast<double>(length - 1);
  const double place = (static_cast<double>(i) + 0.5) / static_cast<double>(factor) - 0.5;
  const double inside = std::clamp(place, 0.0, most), low = std::floor(inside);
  of[static_cast<size_t>(low)] += 1 - (inside - low);
  if (low < most) of[static_cast<size_t>(low) + 1] += inside - low;
  return of;
}

struct Case {
  Shape x;
  Size2 factor;
};

std::vector<Case> cases() {
  return {{{2, 3, 4, 8}, {2, 2}},  {{1, 5, 2, 3}, {3, 4}}, {{2, 1, 6, 17}, {2, 1}},
          {{1, 4, 3, 16}, {4, 2}}, {{1, 1, 1, 5}, {5, 3}}, {{3, 2, 2, 1}, {2, 8}}};
}

TEST(UpSample, MatchesTheDefinition) {
  for (const Case& c : cases())
    for (const Interpolation interpolation : {Interpolation::nearest, Interpolation::bilinear}) {
      SCOPED_TRACE(c.x.str());
      const UpSampleOp op(enlargement(c.x, c.factor), interpolation);
      const Buffer x = integers(c.x, 1);
      const Buffer y = run_op(op, {x})[0], dy = integers(y.shape(), 2);
      const Buffer dx = run_op(UpSampleGradOp(op.size, interpolation), {dy})[0];
      EXPECT_EQ(y.shape(), (Shape{c.x[0], c.x[1] * c.factor[0], c.x[2] * c.factor[1], c.x[3]}));
      Doubles wanted(y.as().size()), gradient(x.as().size());
      for (int64_t n = 0; n < c.x[0]; ++n)
        for (int64_t p = 0; p < y.shape()[1]; ++p)
          for (int64_t q = 0; q < y.shape()[2]; ++q) {
            const Doubles rows = weights(p, c.x[1], c.factor[0], interpolation),
                          columns = weights(q, c.x[2], c.factor[1], interpolation);
            for (int64_t h = 0; h < c.x[1]; ++h)
              for (int64_t w = 0; w < c.x[2]; ++w)
                for (int64_t k = 0; k < c.x[3]; ++k) {
                  const double share = rows[static_cast<size_t>(h)] * columns[static_cast<size_t>(w)];
                  wanted[at(y.shape(), n, p, q, k)] += share * x[at(c.x, n, h, w, k)];
                  gradient[at(c.x, n, h, w, k)] += share * dy[at(y.shape(), n, p, q, k)];
                }
          }
      // Repeated pixels are exact; shares are rounded.
      const double tolerance = interpolation == Interpolation::nearest ? 0 : 2e-5;
      EXPECT_TRUE(close(y, wanted, tolerance));
      EXPECT_TRUE(close(dx, gradient, tolerance));
      EXPECT_TRUE(gradient_matches(std::make_shared<UpSampleOp>(op), {uniform(c.x, 3)}, {0}, {.step = 0.5}));
      // The control: one pixel that is another is seen.
      Buffer other = x;
      other[0] += 1;
      EXPECT_FALSE(close(run_op(op, {other})[0], wanted, 1e-4));
    }
}

TEST(UpSample, APartOfTheRowsIsThatPartOfTheWhole) {
  for (const Interpolation interpolation : {Interpolation::nearest, Interpolation::bilinear}) {
    const Shape shape{2, 6, 5, 8};
    const UpSampleOp op(enlargement(shape, {3, 2}), interpolation);
    const Buffer x = uniform(shape, 1), y = run_op(op, {x})[0];
    for (const Interval seen : {Interval{0, 5}, Interval{4, 11}, Interval{11, 18}}) {
      const Interval in = op.needs(1, seen, shape[1]);
      const Rule rule = op.rules()[1];
      const auto local = op.local({rule, 0, 3, {in}, {seen}});
      Buffer part{Type{{2, in.size(), 5, 8}}};
      for (int64_t n = 0; n < 2; ++n)
        std::copy_n(x.as().begin() + static_cast<ptrdiff_t>(at(shape, n, in.begin, 0, 0)), in.size() * 40,
                    part.as().begin() + n * in.size() * 40);
      const Buffer own = run_op(dynamic_cast<const UpSampleOp&>(*local.op), {part})[0];
      for (int64_t n = 0; n < 2; ++n)
        for (int64_t p = seen.begin; p < seen.end; ++p)
          for (int64_t i = 0; i < 10 * 8; ++i)
            ASSERT_EQ(own[at(own.shape(), n, p - seen.begin, 0, i)], y[at(y.shape(), n, p, 0, i)]) << p << " " << i;
    }
  }
}

TEST(Pad, PutsZerosAroundAndTakesAway) {
  struct Padded {
    Shape x;
    Size2 before, after;
  };
  for (const auto& [shape, before, after] : {Padded{{2, 3, 4, 8}, {1, 2}, {0, 3}},
                                             {{1, 5, 4, 3}, {-1, 1}, {-2, -1}},
                                             {{2, 2, 2, 16}, {3, 0}, {-1, 0}},
                                             {{1, 4, 6, 1}, {0, -2}, {2, -1}},
                                             {{1, 1, 1, 5}, {2, 2}, {2, 2}},
                                             // Nothing but padding, as a member's part may be.
                                             {{2, 1, 3, 8}, {9, 0}, {-2, 1}},
                                             {{1, 4, 1, 5}, {-1, -6}, {2, 8}},
                                             {{1, 2, 2, 9}, {-5, 4}, {7, -3}}}) {
    SCOPED_TRACE(shape.str());
    const PadOp op(before, after);
    const Buffer x = integers(shape, 1), y = run_op(op, {x})[0];
    ASSERT_EQ(y.shape(), (Shape{shape[0], shape[1] + before[0] + after[0], shape[2] + before[1] + after[1], shape[3]}));
    Doubles wanted(y.as().size());
    for (int64_t n = 0; n < shape[0]; ++n)
      for (int64_t h = 0; h < shape[1]; ++h)
        for (int64_t w = 0; w < shape[2]; ++w)
          for (int64_t c = 0; c < shape[3]; ++c) {
            const int64_t p = h + before[0], q = w + before[1];
            if (p >= 0 && p < y.shape()[1] && q >= 0 && q < y.shape()[2])
              wanted[at(y.shape(), n, p, q, c)] = x[at(shape, n, h, w, c)];
          }
    EXPECT_TRUE(close(y, wanted, 0));
    if (std::ranges::any_of(wanted, [](double value) { return value != 0; })) {
      EXPECT_TRUE(gradient_matches(std::make_shared<PadOp>(op), {uniform(shape, 2)}, {0}));
    } else {
      const PadOp back({-before[0], -before[1]}, {-after[0], -after[1]});
      EXPECT_TRUE(close(run_op(back, {uniform(y.shape(), 2)})[0], Doubles(x.as().size()), 0));
    }
  }
  EXPECT_EQ(error_of([] {
              static_cast<void>(PadOp({-3, 0}, {0, 0}).infer(std::vector<Type>{{{1, 3, 3, 1}}}));
            }),
            "f32[1, 3, 3, 1] with pad -3x0/0x0 takes away more than there is");
}

TEST(Bias, IsAddedToEveryPixelAndItsGradientIsTheirSum) {
  for (const Shape& shape : {Shape{2, 3, 4, 8}, Shape{1, 5, 7, 3}, Shape{4, 20, 20, 17}}) {
    const Buffer x = integers(shape, 1), b = integers({shape[3]}, 2), dy = integers(shape, 3);
    Doubles wanted, gradient(static_cast<size_t>(shape[3]));
    for (size_t i = 0; i < x.as().size(); ++i) {
      wanted.push_back(double{x[i]} + double{b[i % gradient.size()]});
      gradient[i % gradient.size()] += dy[i];
    }
    for (const bool in_place : {false, true}) EXPECT_TRUE(close(run_op(BiasOp(), {x, b}, in_place)[0], wanted, 0));
    EXPECT_TRUE(close(run_op(BiasGradOp(), {dy})[0], gradient, 0));
    EXPECT_TRUE(gradient_matches(std::make_shared<BiasOp>(), {x, b}, {0, 1}, {.step = 0.5}));
  }
}

TEST(GlobalMaxPool, TakesTheFirstMaximum) {
  for (const Shape& shape : {Shape{2, 3, 4, 8}, Shape{1, 5, 7, 3}, Shape{3, 20, 17, 19}, Shape{2, 1, 1, 4}}) {
    const Buffer x = integers(shape, 1, -2, 2);
    const auto y = run_op(GlobalMaxPoolOp(), {x});
    const Buffer dy = integers(y[0].shape(), 2);
    const Buffer dx = run_op(GlobalMaxPoolGradOp(shape), {y[1], dy})[0];
    Doubles gradient(x.as().size());
    const int64_t pixels = shape[1] * shape[2];
    for (int64_t n = 0; n < shape[0]; ++n)
      for (int64_t c = 0; c < shape[3]; ++c) {
        int64_t best = 0;
        const auto value = [&](int64_t pixel) { return x[at(shape, n, 0, pixel, c)]; };
        for (int64_t pixel = 1; pixel < pixels; ++pixel) best = value(pixel) > value(best) ? pixel : best;
        const auto place = static_cast<size_t>(n * shape[3] + c);
        const size_t in_x = static_cast<size_t>((n * pixels + best) * shape[3] + c);
        EXPECT_EQ(y[0][place], x[in_x]);
        EXPECT_EQ(y[1].as<int32_t>()[place], best);
        gradient[in_x] = dy[place];
      }
    EXPECT_TRUE(close(dx, gradient, 0));
  }
}

TEST(GlobalMaxPool, NanIsTheLargest) {
  Buffer x = uniform({1, 3, 3, 9}, 1);
  x[9 * 4 + 2] = std::numeric_limits<float>::quiet_NaN();
  const auto y = run_op(GlobalMaxPoolOp(), {x});
  for (size_t c = 0; c < 9; ++c) EXPECT_EQ(std::isnan(y[0][c]), c == 2);
  EXPECT_EQ(y[1].as<int32_t>()[2], 4);
}

TEST(GlobalMaxPool, GradientMatchesFiniteDifferences) {
  Buffer x{Type{{2, 3, 4, 5}}};
  std::vector<size_t> order(x.as().size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::shuffle(order, std::mt19937(3));
  for (size_t i = 0; i < order.size(); ++i) x[order[i]] = 0.0625F * static_cast<float>(i);
  EXPECT_TRUE(gradient_matches(std::make_shared<GlobalMaxPoolOp>(), {x}, {0}, {.elements = 120}));
}

}  // namespace
}  // namespace lockstep::test
