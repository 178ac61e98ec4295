// Pooling against obvious references on integers, where every sum is exact, and against finite differences.
#include <omp.h>

#include <limits>
#include <numeric>

#include "layers/activations/relu.h"
#include "layers/cpu/kernels.h"
#include "layers/pooling/avg_pool.h"
#include "layers/pooling/max_pool.h"
#include "tests/support/op_check.h"

namespace lockstep {
namespace {

using namespace test;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  Shape x;
  Window window;
};

std::vector<Case> cases() {
  return {{{2, 4, 6, 8}, {{2, 2}, {2, 2}}},                   // apart, exact fit
          {{1, 5, 7, 3}, {{2, 2}, {2, 2}}},                   // a row and a column that no window covers
          {{2, 5, 7, 13}, {{2, 2}, {2, 2}, {0, 0}, {1, 1}}},  // "same": the odd pixel after
          {{2, 9, 9, 9}, {{3, 3}, {2, 2}, {1, 1}, {1, 1}}},   // ResNet's: overlapping
          {{1, 6, 5, 16}, {{3, 3}, {1, 1}, {1, 1}, {1, 1}}},  // stride 1
          {{1, 9, 11, 5}, {{2, 3}, {3, 4}, {1, 2}, {0, 1}}},  // gaps between windows, uneven padding
          {{3, 1, 1, 1}, {{1, 1}, {1, 1}}},
          {{1, 17, 16, 2}, {{16, 16}, {1, 1}}}};  // 256 elements: the largest place in a byte
}

/// Calls body(n, p, q, c, r, t, index of the pixel in x) for all pixels of all windows, in order.
template <class Body>
void each_pixel(const Case& test, const Shape& y, Body body) {
  const auto& [x, w] = test;
  for (int64_t n = 0; n < y[0]; ++n)
    for (int64_t p = 0; p < y[1]; ++p)
      for (int64_t q = 0; q < y[2]; ++q)
        for (int64_t c = 0; c < y[3]; ++c)
          for (int64_t r = 0; r < w.size[0]; ++r)
            for (int64_t t = 0; t < w.size[1]; ++t) {
              const int64_t i = p * w.stride[0] + r - w.pad_before[0], j = q * w.stride[1] + t - w.pad_before[1];
              if (i < 0 || i >= x[1] || j < 0 || j >= x[2]) continue;
              body(static_cast<size_t>(((n * y[1] + p) * y[2] + q) * y[3] + c),
                   static_cast<size_t>(((n * x[1] + i) * x[2] + j) * x[3] + c), r * w.size[1] + t);
            }
}

struct MaxReference {
  std::vector<float> y, dx;
  std::vector<uint8_t> place;

  MaxReference(const Case& test, const Buffer& x, const Buffer& dy, bool relu)
      : y(dy.as().size(), -std::numeric_limits<float>::infinity()), dx(x.as().size()), place(y.size()) {
    std::vector<size_t> from(y.size());
    each_pixel(test, dy.shape(), [&](size_t at, size_t pixel, int64_t index) {
      if (!(x[pixel] > y[at])) return;
      y[at] = x[pixel];
      from[at] = pixel;
      place[at] = static_cast<uint8_t>(index);
    });
    for (size_t at = 0; at < y.size(); ++at) {
      if (relu) y[at] = std::max(y[at], 0.0F);
      if (!relu || y[at] > 0) dx[from[at]] += dy[at];
    }
  }
};

Buffer max_pool_dx(const Case& test, bool relu, const std::vector<Buffer>& y, const Buffer& dy) {
  std::vector<Buffer> in{y[1], dy};
  if (relu) in.push_back(y[0]);
  return run_op(MaxPoolGradOp(test.window, relu, test.x), in)[0];
}

TEST(MaxPool, EqualsReferenceOnIntegersWithTies) {
  for (const Case& test : cases())
    for (bool relu : {false, true}) {
      SCOPED_TRACE(test.x.str() + " " + to_string(test.window) + (relu ? " relu" : ""));
      const Buffer x = integers(test.x, 1, -2, 2);
      const auto y = run_op(MaxPoolOp(test.window, relu), {x});
      const Buffer dy = integers(y[0].shape(), 2);
      const MaxReference expected(test, x, dy, relu);
      EXPECT_TRUE(close(y[0], expected.y, 0));
      EXPECT_TRUE(std::ranges::equal(y[1].as<uint8_t>(), expected.place));
      EXPECT_TRUE(close(max_pool_dx(test, relu, y, dy), expected.dx, 0));
    }
}

// Every number of channels beside every vector, and more columns of windows than one: what a vector writes beyond a
// pixel would be seen in the next.
TEST(Pool, HandsOnAllOfDyForEveryNumberOfChannels) {
  std::vector<int64_t> every(40);
  std::iota(every.begin(), every.end(), 1);
  every.insert(every.end(), {50, 100});
  const std::vector<Window> windows{{{2, 2}, {2, 2}},
                                    {{2, 3}, {2, 3}},
                                    {{2, 2}, {2, 2}, {0, 0}, {1, 1}},
                                    {{3, 3}, {2, 2}, {1, 1}, {1, 1}},
                                    {{2, 2}, {1, 1}}};
  for (int64_t channels : every)
    for (const Window& window : windows)
      for (bool relu : {false, true}) {
        const Case test{{2, 4, 6, channels}, window};
        SCOPED_TRACE(test.x.str() + " " + to_string(window) + (relu ? " relu" : ""));
        const Buffer x = integers(test.x, static_cast<unsigned>(channels), relu ? 1 : -2, 5);
        const auto y = run_op(MaxPoolOp(window, relu), {x});
        const Buffer dy = integers(y[0].shape(), 20);
        const MaxReference expected(test, x, dy, relu);
        EXPECT_TRUE(close(y[0], expected.y, 0));
        EXPECT_TRUE(std::ranges::equal(y[1].as<uint8_t>(), expected.place));
        const Buffer dx = max_pool_dx(test, relu, y, dy), average = run_op(AvgPoolGradOp(window, test.x), {dy})[0];
        EXPECT_TRUE(close(dx, expected.dx, 0));
        std::vector<double> given(static_cast<size_t>(channels)), passed(given.size()), shared(given.size());
        for (size_t i = 0; i < dy.as().size(); ++i) given[i % given.size()] += dy[i];
        for (size_t i = 0; i < dx.as().size(); ++i) {
          passed[i % given.size()] += dx[i];
          shared[i % given.size()] += average[i];
        }
        for (size_t c = 0; c < given.size(); ++c) {
          EXPECT_EQ(passed[c], given[c]) << "channel " << c;
          EXPECT_NEAR(shared[c], given[c], 1e-4) << "channel " << c;  // some hundred shares of up to 4, rounded
        }
      }
}

TEST(MaxPool, GradientMatchesFiniteDifferences) {
  for (const Case& test : cases()) {
    // Far enough apart that no step of the differences changes which is the largest, or the sign.
    Buffer x{Type{test.x}};
    std::vector<size_t> order(x.as().size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::shuffle(order, std::mt19937(3));
    for (size_t i = 0; i < order.size(); ++i)
      x[order[i]] = 0.0625F * (static_cast<float>(i) + 0.5F - static_cast<float>(order.size() / 2));
    for (bool relu : {false, true})
      EXPECT_TRUE(gradient_matches(std::make_shared<MaxPoolOp>(test.window, relu), {x}, {0}))
          << test.x.str() << " " << to_string(test.window);
  }
}

TEST(MaxPool, WithReluEqualsReluBeforeItBitForBit) {
  for (const Case& test : cases()) {
    Buffer x = uniform(test.x, 4);
    x[0] = nan;
    x[x.as().size() - 1] = -0.0F;
    const Buffer relu = run_op(ReluOp(), {x})[0];
    const auto apart = run_op(MaxPoolOp(test.window), {relu}), fused = run_op(MaxPoolOp(test.window, true), {x});
    EXPECT_TRUE(same_bits(apart[0], fused[0]));
    const Buffer dy = uniform(apart[0].shape(), 5);
    const Buffer dx = run_op(ReluGradOp(), {relu, max_pool_dx(test, false, apart, dy)})[0];
    EXPECT_TRUE(same_bits(dx, max_pool_dx(test, true, fused, dy))) << test.x.str() << " " << to_string(test.window);
  }
  // The control: without relu the results differ.
  const Buffer x = uniform({1, 4, 4, 8}, 6, -1, -0.5F);
  EXPECT_FALSE(
      same_bits(run_op(MaxPoolOp({{2, 2}, {2, 2}}), {x})[0], run_op(MaxPoolOp({{2, 2}, {2, 2}}, true), {x})[0]));
}

TEST(MaxPool, NanIsTheLargestAndPaddingNeverWins) {
  const float inf = std::numeric_limits<float>::infinity();
  for (int64_t channels : {1, 8}) {
    Buffer x(Type{Shape{1, 2, 2, channels}});
    for (size_t i = 0; i < x.as().size(); ++i) x[i] = i / static_cast<size_t>(channels) == 2 ? nan : -inf;
    // Nine windows of which the corner ones see a single pixel.
    const auto y = run_op(MaxPoolOp({{2, 2}, {1, 1}, {1, 1}, {1, 1}}), {x});
    const std::vector<bool> sees{false, false, false, true, true, false, true, true, false};
    const std::vector<int> place{3, 2, 2, 3, 2, 0, 1, 0, 0};
    for (size_t i = 0; i < y[0].as().size(); ++i) {
      const size_t window = i / static_cast<size_t>(channels);
      EXPECT_EQ(std::isnan(y[0][i]), sees[window]) << window;
      EXPECT_TRUE(sees[window] || y[0][i] == -inf) << window;
      EXPECT_EQ(y[1].as<uint8_t>()[i], place[window]) << window;
    }
  }
}

TEST(Pool, ThreadsDoNotChangeBits) {
  const int threads = omp_get_max_threads();
  const Window window{{3, 3}, {2, 2}, {1, 1}, {1, 1}};
  const Case test{{2, 61, 60, 24}, window};
  const Buffer x = uniform(test.x, 7), dy = uniform(window_output(window, test.x), 8), dg = uniform({2, 24}, 9);
  std::vector<Buffer> results[2];
  for (int run : {0, 1}) {
    omp_set_num_threads(run == 0 ? 1 : 3);
    const auto y = run_op(MaxPoolOp(window, true), {x});
    results[run] = {y[0],
                    y[1],
                    max_pool_dx(test, true, y, dy),
                    run_op(AvgPoolOp(window), {x})[0],
                    run_op(AvgPoolGradOp(window, test.x), {dy})[0],
                    run_op(GlobalAvgPoolOp(test.x[1] * test.x[2]), {x})[0],
                    run_op(GlobalAvgPoolGradOp(test.x[1] * test.x[2], test.x), {dg})[0]};
  }
  omp_set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << i;
}

TEST(AvgPool, EqualsReference) {
  for (const Case& test : cases()) {
    SCOPED_TRACE(test.x.str() + " " + to_string(test.window));
    const Buffer x = integers(test.x, 10);
    const Buffer y = run_op(AvgPoolOp(test.window), {x})[0];
    const Buffer dy = integers(y.shape(), 11);
    std::vector<double> sum(y.as().size()), pixels(sum.size()), dx(x.as().size());
    each_pixel(test, y.shape(), [&](size_t at, size_t pixel, int64_t) {
      sum[at] += x[pixel];
      ++pixels[at];
    });
    each_pixel(test, y.shape(), [&](size_t at, size_t pixel, int64_t) { dx[pixel] += dy[at] / pixels[at]; });
    for (size_t i = 0; i < sum.size(); ++i) sum[i] /= pixels[i];
    // A handful of roundings of values up to 4 and, where 256 windows overlap, of sums of those.
    EXPECT_TRUE(close(y, sum, 2e-6));
    EXPECT_TRUE(close(run_op(AvgPoolGradOp(test.window, test.x), {dy})[0], dx, 4e-6));
    EXPECT_TRUE(gradient_matches(std::make_shared<AvgPoolOp>(test.window), {uniform(test.x, 12)}, {0}));
  }
}

TEST(AvgPool, DoesNotCountPadding) {
  Buffer x(Type{Shape{1, 3, 3, 10}});
  std::ranges::fill(x.as(), 3.0F);
  const Buffer y = run_op(AvgPoolOp({{2, 2}, {2, 2}, {0, 0}, {1, 1}}), {x})[0];
  EXPECT_TRUE(close(y, std::vector<float>(40, 3.0F), 0));  // halves and quarters: exact
}

TEST(GlobalAvgPool, IsExactOnIntegers) {
  const Buffer x = integers({3, 4, 8, 11}, 13);
  const Buffer y = run_op(GlobalAvgPoolOp(4 * 8), {x})[0];
  ASSERT_EQ(y.shape(), (Shape{3, 11}));
  std::vector<float> expected(33);
  for (size_t i = 0; i < x.as().size(); ++i) expected[i / (32 * 11) * 11 + i % 11] += x[i] / 32;
  EXPECT_TRUE(close(y, expected, 0));

  const Buffer dx = run_op(GlobalAvgPoolGradOp(4 * 8, {9, 4, 8, 11}), {y})[0];  // the batch follows dy
  ASSERT_EQ(dx.shape(), x.shape());
  for (size_t i = 0; i < dx.as().size(); ++i) ASSERT_EQ(dx[i], y[i / (32 * 11) * 11 + i % 11] / 32);
  EXPECT_TRUE(gradient_matches(std::make_shared<GlobalAvgPoolOp>(9), {uniform({2, 3, 3, 5}, 14)}, {0}));
}

TEST(Pool, RefusesWithNumbers) {
  const std::vector<Type> image{{Shape{1, 32, 32, 3}}}, matrix{{Shape{8, 10}}};
  EXPECT_EQ(error_of([&] {
              MaxPoolOp({{17, 16}, {1, 1}}).infer(image);
            }),
            "max pooling window 17x16: expected at most 256 elements");
  EXPECT_EQ(error_of([&] {
              MaxPoolOp({{2, 2}, {2, 2}}).infer(matrix);
            }),
            "got f32[8, 10], expected images f32[N, H, W, C]");
  EXPECT_EQ(error_of([&] { GlobalAvgPoolOp(1).infer(matrix); }), "got f32[8, 10], expected images f32[N, H, W, C]");
  EXPECT_EQ(error_of([&] {
              AvgPoolOp({{40, 2}, {2, 2}}).infer(image);
            }),
            "window 40x2 exceeds its input [1, 32, 32, 3] (padding 0x0 before, 0x0 after)");
  const std::vector<Type> dy{{Shape{1, 15, 16, 3}}};
  EXPECT_EQ(error_of([&] {
              AvgPoolGradOp({{2, 2}, {2, 2}}, {1, 32, 32, 3}).infer(dy);
            }),
            "dy is f32[1, 15, 16, 3], expected f32[1, 16, 16, 3]");
}

TEST(Pool, Layers) {
  Graph graph;
  Builder builder(graph, 4, 1, true);
  const Value x = graph.source("x", {Shape{4, 7, 8, 3}}, Role::lane_input);
  const std::vector<Value> in{x};
  const auto shape = [&](const Layer& layer, std::string name) {
    builder.enter(std::move(name), 0);
    return graph.type(layer.build(builder, in)).shape;
  };
  EXPECT_EQ(shape(MaxPooling2D(), "a"), (Shape{4, 3, 4, 3}));
  EXPECT_EQ(shape(MaxPooling2D({3, 3}, {.strides = {2, 2}, .padding = Padding::same}), "b"), (Shape{4, 4, 4, 3}));
  EXPECT_EQ(shape(AveragePooling2D({7, 4}), "c"), (Shape{4, 1, 2, 3}));
  EXPECT_EQ(shape(GlobalAveragePooling2D(), "d"), (Shape{4, 3}));
  EXPECT_EQ(error_of([&] {
              shape(MaxPooling2D({2, 2}, {.strides = {1, 0}}), "stem");
            }),
            "window 2x2 with strides 1x0: expected at least 1x1 for both");
}

}  // namespace
}  // namespace lockstep
