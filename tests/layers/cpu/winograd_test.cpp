// What tests of convolutions do not see of Winograd's: the same bits for every instruction set and number of threads,
// and which convolutions it takes.
#include <omp.h>

#include "layers/cpu/conv/engines.h"
#include "layers/cpu/conv/winograd_tiles.h"
#include "layers/cpu/gemm/tile_gemm.h"
#include "tests/support/op_check.h"

namespace lockstep::cpu {
namespace {

using namespace test;
using Pass = Convolution::Pass;

Conv2dAttributes padded(int64_t before, int64_t after) { return {{3, 3}, {1, 1}, {before, before}, {after, after}}; }

TEST(TileGemm, BothInstructionSetsHaveTheBitsOfOneChain) {
  if (!has_avx512()) GTEST_SKIP() << "no AVX-512 here: nothing to compare with";
  for (const int64_t rows : {1, 5, 6, 13, 14, 29}) {
    constexpr int64_t depth = 48, panels = 3;
    const Buffer a = uniform({depth / panel, rows, panel}, 1), b = uniform({panels, depth, panel}, 2);
    Buffer narrow(Type{Shape{panels, rows, panel}}, 0xFF), wide = narrow;
    tile_gemm_8.product(a.as().data(), b.as().data(), narrow.as().data(), rows, depth, panels);
    tile_gemm_16.product(a.as().data(), b.as().data(), wide.as().data(), rows, depth, panels);
    EXPECT_TRUE(same_bits(narrow, wide)) << rows;
    float last = 0;
    for (int64_t d = 0; d < depth; ++d)
      last = std::fma(a[static_cast<size_t>(((d / panel) * rows + rows - 1) * panel + d % panel)],
                      b[static_cast<size_t>(((panels - 1) * depth + d) * panel + panel - 1)], last);
    EXPECT_EQ(narrow[narrow.as().size() - 1], last) << rows;

    const Buffer right = uniform({panels, rows, panel}, 3);
    Buffer sums = uniform({panels, depth, panel}, 4), others = sums;
    tile_gemm_8.outer(a.as().data(), right.as().data(), sums.as().data(), rows, depth, panels);
    tile_gemm_16.outer(a.as().data(), right.as().data(), others.as().data(), rows, depth, panels);
    EXPECT_TRUE(same_bits(sums, others)) << rows;
    others[7] = std::nextafter(others[7], 2.0F);
    EXPECT_FALSE(same_bits(sums, others));
  }
}

TEST(WinogradTiles, BothInstructionSetsHaveTheSameBits) {
  if (!has_avx512()) GTEST_SKIP() << "no AVX-512 here: nothing to compare with";
  // Odd sides: tiles hang over at all edges.
  const TileGrid grid{.height = 9,
                      .width = 7,
                      .channels = 32,
                      .rows = 9,
                      .columns = 7,
                      .filters = 48,
                      .pad = {1, 1},
                      .across = 4,
                      .down = 5};
  constexpr int64_t count = 2 * 5 * 4;
  const Buffer images = uniform({2, 9, 7, 32}, 1), dy = uniform({2, 9, 7, 48}, 2), bias = uniform({48}, 3);
  const Buffer products = uniform({places, count, 48}, 4);
  const auto all = [&](const WinogradTiles& tiles) {
    std::vector<Buffer> made;
    for (const Shape& shape : {Shape{places, count, 32}, Shape{places, count, 48}, Shape{2, 9, 7, 48}})
      made.emplace_back(Type{shape}, 0xFF);
    tiles.inputs(grid, images.as().data(), 0, count, 0, count, made[0].as().data());
    tiles.output_grads(grid, dy.as().data(), 0, count, 0, count, made[1].as().data());
    tiles.outputs(grid, products.as().data(), 0, count, 0, count, bias.as().data(), true, made[2].as().data());
    return made;
  };
  const auto narrow = all(winograd_tiles_8);
  auto wide = all(winograd_tiles_16);
  for (size_t i = 0; i < narrow.size(); ++i) {
    EXPECT_TRUE(same_bits(narrow[i], wide[i])) << i;
    wide[i][5] = std::nextafter(wide[i][5], 2.0F);
    EXPECT_FALSE(same_bits(narrow[i], wide[i]));
  }
}

TEST(Winograd, HasTheSameBitsForEveryNumberOfThreads) {
  const Shape x{2, 30, 31, 32}, y{2, 30, 31, 64}, w{64, 3, 3, 32};
  const Conv2dAttributes conv = padded(1, 1);
  const Buffer images = uniform(x, 1), weights = uniform(w, 2), dy = uniform(y, 3), bias = uniform({64}, 4);
  const auto all = [&](int threads) {
    omp_set_num_threads(threads);
    const Conv2dOp forward(conv, true, true);
    const Conv2dDataGradOp data_grad(conv, x);
    const Conv2dWeightGradOp weight_grad(conv, true);
    std::vector<Buffer> made = run_kernel(winograd({Pass::forward, conv, x, w, y, true, true}), forward,
                                          {{{x}, {w}, {Shape{64}}}, {{y}}}, {images, weights, bias});
    for (auto& more :
         {run_kernel(winograd({Pass::data_grad, conv, x, w, y}), data_grad, {{{w}, {y}}, {{x}}}, {weights, dy}),
          run_kernel(winograd({Pass::weight_grad, conv, x, w, y, true}), weight_grad, {{{x}, {y}}, {{w}, {Shape{64}}}},
                     {images, dy})})
      made.insert(made.end(), more.begin(), more.end());
    return made;
  };
  const int before = omp_get_max_threads();
  const auto one = all(1);
  for (const int threads : {2, 3, 5}) {
    const auto several = all(threads);
    for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(same_bits(several[i], one[i])) << threads << " threads, " << i;
  }
  omp_set_num_threads(before);
  EXPECT_FALSE(same_bits(one[0], one[1]));
}

TEST(Winograd, TakesDenseThreeByThreeAlone) {
  const auto suits = [](const Conv2dAttributes& conv, const Shape& images, const Shape& out) {
    return suits_winograd({Pass::forward, conv, images, {}, out});
  };
  const Shape x{4, 16, 16, 32}, y{4, 16, 16, 64};
  EXPECT_TRUE(suits(padded(1, 1), x, y));
  Conv2dAttributes other = padded(1, 1);
  other.dilation = {2, 2};
  EXPECT_FALSE(suits(other, x, y));
  other = padded(1, 1);
  other.groups = 2;
  EXPECT_FALSE(suits(other, x, y));
  other = padded(1, 1);
  other.stride = {2, 2};
  EXPECT_FALSE(suits(other, x, {4, 8, 8, 64}));
  EXPECT_FALSE(suits(padded(1, 1), {4, 16, 16, 24}, y)) << "channels are no panels";
  EXPECT_FALSE(suits(padded(1, 1), {1, 4, 4, 32}, {1, 4, 4, 64})) << "too few tiles";
}

TEST(Winograd, TakesPaddingOfOneSide) {
  // As a part of rows has it: nothing before, more after than the kernel needs.
  const Shape x{2, 9, 8, 32}, y{2, 9, 8, 32};
  const Conv2dAttributes conv{{3, 3}, {1, 1}, {0, 2}, {2, 0}};
  ASSERT_TRUE(suits_winograd({Pass::forward, conv, x, {}, y}));
  const Buffer images = integers(x, 1), weights = integers({32, 3, 3, 32}, 2);
  const Buffer made = run_kernel(winograd({Pass::forward, conv, x, {}, y}), Conv2dOp(conv, false, false),
                                 {{images.type(), weights.type()}, {{y}}}, {images, weights})[0];
  for (int64_t i = 0; i < y.elements(); ++i) {
    const int64_t k = i % 32, q = i / 32 % 8, p = i / 256 % 9, n = i / 2304;
    float sum = 0;
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t s = 0; s < 3; ++s)
        for (int64_t c = 0; c < 32 && p + r < 9 && q + s >= 2 && q + s < 10; ++c)
          sum += images[static_cast<size_t>(((n * 9 + p + r) * 8 + q + s - 2) * 32 + c)] *
                 weights[static_cast<size_t>(((k * 3 + r) * 3 + s) * 32 + c)];
    ASSERT_EQ(made[static_cast<size_t>(i)], sum) << i;
  }
}

}  // namespace
}  // namespace lockstep::cpu
