// The ways to compute a convolution beside each other: whatever an engine takes it computes as the library does.
#include <map>
#include <random>
#include <string_view>

#include "core/random.h"
#include "layers/cpu/conv/engines.h"
#include "tests/support/op_check.h"

namespace lockstep::cpu {
namespace {

using namespace test;
using Pass = Convolution::Pass;

/// Drawn so that every engine is met: few channels and filters, or panels of them, or as many groups.
Convolution draw(std::mt19937& random, Pass pass) {
  const auto between = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  const auto one_of = [&](std::initializer_list<int64_t> all) {
    return *(all.begin() + between(0, std::ssize(all) - 1));
  };
  Conv2dAttributes conv;
  const int64_t edge = one_of({1, 3, 3, 5});
  conv.kernel = {edge, one_of({edge, 3})};
  conv.stride = {one_of({1, 1, 2}), one_of({1, 1, 2})};
  conv.dilation = one_of({1, 1, 2}) == 1 ? Size2{1, 1} : Size2{1, 2};
  const int64_t most_padding = one_of({0, 2});
  for (auto* pad : {&conv.pad_before, &conv.pad_after}) *pad = {between(0, most_padding), between(0, most_padding)};
  const bool depthwise = between(0, 3) == 0;
  const int64_t channels = depthwise ? between(2, 40) : one_of({1, 3, 4, 8, 32, 48});
  const int64_t filters = depthwise ? channels : one_of({1, 5, 8, 16, 32, 64});
  conv.groups = depthwise ? channels : 1;
  const Shape x{between(1, 9), between(9, 14), between(9, 14), channels};
  const auto outputs = [&](size_t d, int64_t length) {
    const int64_t window = (conv.kernel[d] - 1) * conv.dilation[d] + 1;
    return (length + conv.pad_before[d] + conv.pad_after[d] - window) / conv.stride[d] + 1;
  };
  const Shape y{x[0], outputs(0, x[1]), outputs(1, x[2]), filters};
  return {pass,
          conv,
          x,
          {filters, conv.kernel[0], conv.kernel[1], channels / conv.groups},
          y,
          pass != Pass::data_grad && between(0, 1) == 1,
          pass == Pass::forward && between(0, 1) == 1};
}

std::vector<Buffer> computed(const ConvolutionEngine& engine, const Convolution& c) {
  const Buffer x = uniform(c.x, 1), w = uniform(c.w, 2), dy = uniform(c.y, 3), bias = uniform({c.w[0]}, 4);
  Signature signature;
  std::vector<Buffer> in;
  std::unique_ptr<Op> op;
  if (c.pass == Pass::forward) {
    op = std::make_unique<Conv2dOp>(c.conv, c.bias, c.relu);
    in = {x, w};
    if (c.bias) in.push_back(bias);
    signature.out = {{c.y}};
  } else if (c.pass == Pass::data_grad) {
    op = std::make_unique<Conv2dDataGradOp>(c.conv, c.x);
    in = {w, dy};
    signature.out = {{c.x}};
  } else {
    op = std::make_unique<Conv2dWeightGradOp>(c.conv, c.bias);
    in = {x, dy};
    signature.out = {{c.w}};
    if (c.bias) signature.out.push_back({Shape{c.w[0]}});
  }
  for (const Buffer& each : in) signature.in.push_back(each.type());
  return run_kernel(engine.make(c), *op, signature, in);
}

TEST(ConvolutionEngines, ComputeWhatTheLibraryComputes) {
  std::mt19937 random(19);
  const auto engines = convolution_engines();
  const ConvolutionEngine& library = engines.back();
  std::map<std::string_view, int> met;
  for (int i = 0; i < 400; ++i) {
    const Convolution c = draw(random, static_cast<Pass>(i % 3));
    ASSERT_TRUE(library.suits(c));
    std::vector<Buffer> expected;
    for (const ConvolutionEngine& engine : engines.first(engines.size() - 1)) {
      if (!engine.suits(c)) continue;
      ++met[engine.name];
      if (expected.empty()) expected = computed(library, c);
      const std::vector<Buffer> made = computed(engine, c);
      for (size_t k = 0; k < made.size(); ++k) {
        const auto all = expected[k].as();
        const std::vector<double> wanted(all.begin(), all.end());
        EXPECT_TRUE(close(made[k], wanted, 1e-4))
            << engine.name << ", pass " << i % 3 << ", result " << k << " for x " << c.x.str() << ", w " << c.w.str();
        std::vector<double> other = wanted;
        other[other.size() / 2] += 1;
        EXPECT_FALSE(close(made[k], other, 1e-4)) << "anything would pass";
      }
    }
  }
  for (const ConvolutionEngine& engine : engines.first(engines.size() - 1))
    EXPECT_GT(met[engine.name], 2) << engine.name;
}

}  // namespace
}  // namespace lockstep::cpu
