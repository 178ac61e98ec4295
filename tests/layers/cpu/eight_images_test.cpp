// What tests of convolutions do not see of those of eight images at a time: sizes at their edges against sums in double
// precision, the same bits for every number of threads, and which convolutions they take.
#include <omp.h>

#include "layers/cpu/conv/engines.h"
#include "tests/support/op_check.h"

namespace lockstep::cpu {
namespace {

using namespace test;
using Pass = Convolution::Pass;

struct Case {
  int64_t images, height, width, channels, filters;
  Conv2dAttributes conv;

  Shape x() const { return {images, height, width, channels}; }
  Shape w() const { return {filters, conv.kernel[0], conv.kernel[1], channels}; }
  Shape y() const {
    const auto outputs = [&](size_t d, int64_t length) {
      return (length + conv.pad_before[d] + conv.pad_after[d] - conv.kernel[d]) / conv.stride[d] + 1;
    };
    return {images, outputs(0, height), outputs(1, width), filters};
  }
  Convolution pass(Pass which, bool relu = false) const {
    return {which, conv, x(), w(), y(), which != Pass::data_grad, relu};
  }
};

std::vector<Case> cases() {
  return {{8, 28, 28, 1, 6, {{5, 5}, {1, 1}, {2, 2}, {2, 2}}},
          {8, 14, 14, 6, 16, {{5, 5}}},
          {15, 9, 13, 3, 64, {{3, 4}, {2, 3}, {1, 0}, {0, 2}}},
          {22, 5, 2, 8, 10, {{3, 2}, {1, 1}, {2, 1}, {2, 0}}},
          {8, 1, 7, 40, 7, {{1, 1}}},
          {7, 11, 6, 2, 1, {{4, 3}, {3, 1}, {0, 2}, {1, 2}}},
          {6, 3, 3, 5, 12, {{7, 7}, {1, 1}, {3, 3}, {3, 3}}}};
}

/// Calls body(index in x, in w, in y) for each product of the convolution.
template <class Body>
void each_product(const Case& c, Body body) {
  const Shape x = c.x(), y = c.y();
  for (int64_t n = 0; n < x[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t k = 0; k < y[3]; ++k)
          for (int64_t r = 0; r < c.conv.kernel[0]; ++r)
            for (int64_t s = 0; s < c.conv.kernel[1]; ++s) {
              const int64_t h = p * c.conv.stride[0] - c.conv.pad_before[0] + r;
              const int64_t w = q * c.conv.stride[1] - c.conv.pad_before[1] + s;
              if (h < 0 || h >= x[1] || w < 0 || w >= x[2]) continue;
              for (int64_t i = 0; i < x[3]; ++i)
                body(static_cast<size_t>(((n * x[1] + h) * x[2] + w) * x[3] + i),
                     static_cast<size_t>(((k * c.conv.kernel[0] + r) * c.conv.kernel[1] + s) * x[3] + i),
                     static_cast<size_t>(((n * y[1] + p) * y[2] + q) * y[3] + k));
            }
}

/// y, dw, db, and dx where the stride is one, as the kernels make them.
std::vector<Buffer> made(const Case& c, const Buffer& x, const Buffer& w, const Buffer& b, const Buffer& dy) {
  const Shape filters{c.filters};
  std::vector<Buffer> all = run_kernel(eight_images(c.pass(Pass::forward)), Conv2dOp(c.conv, true, false),
                                       {{{c.x()}, {c.w()}, {filters}}, {{c.y()}}}, {x, w, b});
  const auto add = [&](std::vector<Buffer> more) { all.insert(all.end(), more.begin(), more.end()); };
  add(run_kernel(eight_images(c.pass(Pass::weight_grad)), Conv2dWeightGradOp(c.conv, true),
                 {{{c.x()}, {c.y()}}, {{c.w()}, {filters}}}, {x, dy}));
  if (c.conv.stride == Size2{1, 1})
    add(run_kernel(eight_images(c.pass(Pass::data_grad)), Conv2dDataGradOp(c.conv, c.x()),
                   {{{c.w()}, {c.y()}}, {{c.x()}}}, {w, dy}));
  return all;
}

TEST(EightImages, AreTheSumsOfProducts) {
  for (const Case& c : cases()) {
    const Buffer x = uniform(c.x(), 1), w = uniform(c.w(), 2), b = uniform({c.filters}, 3), dy = uniform(c.y(), 4);
    std::vector<double> y(static_cast<size_t>(c.y().elements())), dw(static_cast<size_t>(c.w().elements())),
        db(static_cast<size_t>(c.filters)), dx(static_cast<size_t>(c.x().elements()));
    for (size_t i = 0; i < y.size(); ++i) {
      const size_t k = i % static_cast<size_t>(c.filters);
      y[i] = double{b[k]};
      db[k] += double{dy[i]};
    }
    each_product(c, [&](size_t of_x, size_t of_w, size_t of_y) {
      y[of_y] += double{x[of_x]} * double{w[of_w]};
      dw[of_w] += double{x[of_x]} * double{dy[of_y]};
      dx[of_x] += double{w[of_w]} * double{dy[of_y]};
    });
    const std::vector<Buffer> all = made(c, x, w, b, dy);
    const std::vector<double>* expected[] = {&y, &dw, &db, &dx};
    const int64_t pixels = c.images * c.y()[1] * c.y()[2];
    const int64_t terms[] = {c.w().elements() / c.filters, pixels, pixels, c.w().elements() / c.channels};
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_TRUE(close(all[i], *expected[i], 1e-6 * std::sqrt(static_cast<double>(terms[i]))))
          << "result " << i << " for x " << c.x().str() << ", w " << c.w().str();
    EXPECT_FALSE(close(all[0], dy, 1e-2)) << "anything would pass";

    const Buffer with_relu = run_kernel(eight_images(c.pass(Pass::forward, true)), Conv2dOp(c.conv, true, true),
                                        {{{c.x()}, {c.w()}, {Shape{c.filters}}}, {{c.y()}}}, {x, w, b})[0];
    for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(with_relu[i], std::max(all[0][i], 0.0F)) << i;
  }
}

TEST(EightImages, HaveTheSameBitsForEveryNumberOfThreads) {
  const Case c{16, 64, 66, 3, 8, {{3, 3}, {1, 1}, {1, 1}, {1, 1}}};
  const Buffer x = uniform(c.x(), 1), w = uniform(c.w(), 2), b = uniform({c.filters}, 3), dy = uniform(c.y(), 4);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const auto one = made(c, x, w, b, dy);
  for (const int threads : {2, 3, 5}) {
    omp_set_num_threads(threads);
    const auto several = made(c, x, w, b, dy);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(several[i], one[i])) << threads << " threads, " << i;
  }
  omp_set_num_threads(before);
  EXPECT_FALSE(same_bits(one[0], made(c, x, w, dy, dy)[0]));
}

TEST(EightImages, AreTakenWhereTheyFillVectors) {
  const auto suits = [](const Conv2dAttributes& conv, int64_t images, int64_t filters, Pass pass = Pass::forward) {
    return suits_eight_images(Case{images, 9, 9, 3, filters, conv}.pass(pass));
  };
  Conv2dAttributes conv = cases()[0].conv;
  EXPECT_TRUE(suits(conv, 8, 6));
  EXPECT_FALSE(suits(conv, 10, 6));
  EXPECT_FALSE(suits(conv, 8, 16));
  EXPECT_TRUE(suits(conv, 8, 16, Pass::data_grad)) << "a data gradient's filters are the channels";
  conv.dilation = {2, 2};
  EXPECT_FALSE(suits(conv, 8, 6));
  EXPECT_FALSE(suits({{1, 1}}, 8, 6));
  conv = {{3, 3}, {2, 2}};
  EXPECT_TRUE(suits(conv, 8, 6));
  EXPECT_FALSE(suits(conv, 8, 6, Pass::data_grad)) << "strides";
}

}  // namespace
}  // namespace lockstep::cpu
