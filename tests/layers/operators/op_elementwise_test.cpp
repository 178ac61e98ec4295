// relu, softmax, add, concat and flatten: exact where sums allow it, else against double precision.
#include <omp.h>

#include <limits>

#include "core/plan/executor.h"
#include "layers/activations/relu.h"
#include "layers/activations/softmax.h"
#include "layers/cpu/kernels.h"
#include "layers/merging/add.h"
#include "layers/merging/concat.h"
#include "layers/reshaping/flatten.h"
#include "tests/support/op_check.h"

namespace lockstep {
namespace {

using namespace test;

constexpr float nan = std::numeric_limits<float>::quiet_NaN();

TEST(Relu, EqualsReference) {
  for (int64_t n : {1, 7, 8, 9, 1003}) {
    Buffer x = integers({n}, 2);
    x[0] = nan;
    if (n > 8) x[8] = nan;  // in the tail as in the body
    std::vector<float> expected(x.as().begin(), x.as().end()), gradient;
    for (float& v : expected) v = v < 0 ? 0 : v;
    const Buffer dy = integers({n}, 3);
    for (size_t i = 0; i < expected.size(); ++i) gradient.push_back(expected[i] > 0 ? dy[i] : 0);
    for (bool in_place : {false, true}) {
      const Buffer y = run_op(ReluOp(), {x}, in_place)[0];
      for (size_t i = 0; i < expected.size(); ++i)
        EXPECT_TRUE(std::isnan(expected[i]) ? std::isnan(y[i]) : y[i] == expected[i]) << i;
      EXPECT_TRUE(close(run_op(ReluGradOp(), {y, dy}, in_place)[0], gradient, 0));
    }
  }
}

TEST(Relu, GradientMatchesFiniteDifferences) {
  Buffer x = uniform({3, 50}, 4);
  for (float& v : x.as()) v += v < 0 ? -0.1F : 0.1F;  // away from the kink
  EXPECT_TRUE(gradient_matches(std::make_shared<ReluOp>(), {x}, {0}));
  EXPECT_FALSE(gradient_matches(std::make_shared<ReluOp>(), {Buffer(Type{Shape{3, 50}})}, {0})) << "on the kink";
}

TEST(Softmax, EqualsReference) {
  for (int64_t classes : {1, 2, 10, 13, 1000}) {
    const Buffer x = uniform({7, classes}, 5, -20, 20);
    std::vector<double> expected;
    for (size_t n = 0; n < 7; ++n) {
      const auto row = x.as().subspan(n * static_cast<size_t>(classes), static_cast<size_t>(classes));
      double sum = 0;
      for (float v : row) sum += std::exp(double{v});
      for (float v : row) expected.push_back(std::exp(double{v}) / sum);
    }
    for (bool in_place : {false, true})
      EXPECT_TRUE(close(run_op(SoftmaxOp(), {x}, in_place)[0], expected, 1e-12, 2e-6));  // exp of a rounded difference
  }
}

/// dx[i] = sum over k of dy[k] * dy_k/dx_i, where dy_k/dx_i = y[k] * ((k == i) - y[i]): the whole Jacobian.
std::vector<double> softmax_gradient(const Buffer& y, const Buffer& dy) {
  const auto classes = static_cast<size_t>(y.shape()[-1]);
  std::vector<double> dx(y.as().size());
  for (size_t i = 0; i < dx.size(); ++i)
    for (size_t k = i / classes * classes; k < (i / classes + 1) * classes; ++k)
      dx[i] += double{dy[k]} * double{y[k]} * ((k == i ? 1.0 : 0.0) - double{y[i]});
  return dx;
}

TEST(Softmax, GradientMatchesFiniteDifferencesAndReference) {
  for (int64_t classes : {2, 8, 11, 1000}) {
    const Buffer x = uniform({4, classes}, 6, -3, 3), dy = uniform({4, classes}, 7);
    const Buffer y = run_op(SoftmaxOp(), {x})[0];
    // y * (dy - sum of dy * y) with |dy| <= 1: the difference is at most 2, the sum at most 1; sum, difference and
    // product are each rounded once, together less than 2^-22 * y.
    const double error = 0x1p-22 * double{std::ranges::max(y.as())};
    for (bool in_place : {false, true})
      EXPECT_TRUE(close(run_op(SoftmaxGradOp(), {y, dy}, in_place)[0], softmax_gradient(y, dy), error)) << classes;
    EXPECT_FALSE(close(Buffer(y.type()), softmax_gradient(y, dy), error)) << "0 would pass";
  }
  EXPECT_TRUE(gradient_matches(std::make_shared<SoftmaxOp>(), {uniform({4, 11}, 6, -3, 3)}, {0}));
}

TEST(Softmax, DoesNotDependOnPositionAndSurvivesLargeInputs) {
  // Thirteen values, five of them in the tail; rotated, each is computed elsewhere. The largest stays the same.
  const Buffer x = uniform({1, 13}, 8, -6, 6);
  const Buffer y = run_op(SoftmaxOp(), {x})[0];
  for (size_t shift = 1; shift < 13; ++shift) {
    Buffer turned = x;
    for (size_t k = 0; k < 13; ++k) turned[(k + shift) % 13] = x[k];
    const Buffer there = run_op(SoftmaxOp(), {turned})[0];
    // The sum's order changes, so compare ratios' numerators through one element: equal up to the last bit of the
    // scale.
    for (size_t k = 0; k < 13; ++k) EXPECT_NEAR(there[(k + shift) % 13], y[k], 1e-7 * y[k] + 1e-12);
  }
  const Buffer far = filled(Type{Shape{1, 3}}, std::vector<float>{1e30F, 0, -1e30F});
  EXPECT_TRUE(close(run_op(SoftmaxOp(), {far})[0], std::vector<float>{1, 0, 0}, 0));
  for (size_t at : {0, 5, 12}) {
    Buffer bad = x;
    bad[at] = nan;
    const Buffer out = run_op(SoftmaxOp(), {bad})[0];
    EXPECT_TRUE(std::ranges::all_of(out.as(), [](float v) { return std::isnan(v); })) << at;
  }
}

TEST(Add, IsExact) {
  const Buffer a = integers({3, 5, 5, 3}, 9), b = integers({3, 5, 5, 3}, 10);
  std::vector<float> expected;
  for (size_t i = 0; i < a.as().size(); ++i) expected.push_back(a[i] + b[i]);
  for (bool in_place : {false, true}) EXPECT_TRUE(close(run_op(AddOp(), {a, b}, in_place)[0], expected, 0));
  EXPECT_TRUE(gradient_matches(std::make_shared<AddOp>(), {a, b}, {0, 1}));
  EXPECT_EQ(error_of([] {
              AddOp().infer(std::vector<Type>{{Shape{2, 3}}, {Shape{3, 2}}});
            }),
            "the second input is f32[3, 2], expected f32[2, 3]");
}

TEST(Concat, IsExactAndSlicesBack) {
  const std::vector<Buffer> in{integers({2, 3, 3, 5}, 11), integers({2, 3, 3, 1}, 12), integers({2, 3, 3, 8}, 13)};
  const Buffer y = run_op(ConcatOp(3), in)[0];
  ASSERT_EQ(y.shape(), (Shape{2, 3, 3, 14}));
  int64_t begin = 0;
  for (const Buffer& part : in) {
    const int64_t end = begin + part.shape()[3];
    for (size_t i = 0; i < part.as().size(); ++i) {
      const size_t channels = static_cast<size_t>(end - begin), row = i / channels, channel = i % channels;
      ASSERT_EQ(y[row * 14 + static_cast<size_t>(begin) + channel], part[i]);
    }
    EXPECT_TRUE(same_bits(run_op(SliceOp(begin, end), {y})[0], part));
    begin = end;
  }
  EXPECT_TRUE(gradient_matches(std::make_shared<ConcatOp>(3), in, {0, 1, 2}));
}

TEST(Concat, SaysWhatDiffers) {
  EXPECT_EQ(error_of([] {
              ConcatOp(2).infer(std::vector<Type>{{Shape{2, 4, 4, 3}}, {Shape{2, 4, 5, 3}}});
            }),
            "f32[2, 4, 5, 3] cannot be concatenated with f32[2, 4, 4, 3]: they differ in more than the last dimension");
  EXPECT_EQ(error_of([] {
              ConcatOp(2).infer(std::vector<Type>{{Shape{2, 4}}, {Shape{2, 4, 1}}});
            }),
            "f32[2, 4, 1] cannot be concatenated with f32[2, 4]: they differ in more than the last dimension");
  EXPECT_EQ(error_of([] { SliceOp(2, 5).infer(std::vector<Type>{{Shape{2, 4}}}); }), "slice 2 to 5 of f32[2, 4]");
}

TEST(Elementwise, ThreadsDoNotChangeBits) {
  const int threads = omp_get_max_threads();
  const Buffer a = uniform({500, 301}, 14, -9, 9), b = uniform({500, 301}, 15);
  std::vector<Buffer> results[2];
  for (int run : {0, 1}) {
    omp_set_num_threads(run == 0 ? 1 : 3);
    const Buffer y = run_op(SoftmaxOp(), {a})[0];
    results[run] = {run_op(ReluOp(), {a})[0],           run_op(ReluGradOp(), {a, b})[0], y,
                    run_op(SoftmaxGradOp(), {y, b})[0], run_op(AddOp(), {a, b})[0],      run_op(ConcatOp(2), {a, b})[0],
                    run_op(SliceOp(7, 250), {a})[0]};
  }
  omp_set_num_threads(threads);
  for (size_t i = 0; i < results[0].size(); ++i) EXPECT_TRUE(same_bits(results[0][i], results[1][i])) << i;
}

/// What `op` makes of `x` between two operators that may work in place, planned and executed as in a step. Relu leaves
/// an `x` without negative numbers as it is.
Buffer planned(std::shared_ptr<const Op> op, const Buffer& x) {
  StepPlan plan;
  const Value in = plan.graph.source("x", x.type(), Role::lane_input);
  const Value before = plan.graph.add1("before", std::make_shared<ReluOp>(), {in});
  const Value view = plan.graph.add1("view", std::move(op), {before});
  const Value out = plan.graph.add1("after", std::make_shared<ReluOp>(), {view});
  plan.graph.set_role(out, Role::output);
  for (const ValueInfo& info : plan.graph.values()) plan.local.push_back(info.type);
  finish_plan(plan, cpu_kernels(), {});
  const auto backend = make_cpu_backend(1);
  VariableMemory none;
  Executor executor(std::move(plan), *backend, none);
  std::ranges::copy(x.as(), executor.tensor(in).as());
  executor.run();
  Buffer result(executor.tensor(out).type);
  std::copy_n(executor.tensor(out).as(), result.as().size(), result.as().begin());
  return result;
}

TEST(Flatten, KeepsEveryElementAndGivesEveryGradientBack) {
  const Shape image{3, 4, 5, 2};
  const Buffer x = uniform(image, 16, 0, 1), dy = uniform({3, 40}, 17, 0, 1);
  const Buffer y = planned(std::make_shared<FlattenOp>(image), x),
               dx = planned(std::make_shared<UnflattenOp>(image), dy);
  ASSERT_EQ(y.shape(), (Shape{3, 40}));
  ASSERT_EQ(dx.shape(), image);
  for (int64_t n = 0; n < 3; ++n)
    for (int64_t h = 0; h < 4; ++h)
      for (int64_t w = 0; w < 5; ++w)
        for (int64_t c = 0; c < 2; ++c) {
          const auto pixel = static_cast<size_t>(((n * 4 + h) * 5 + w) * 2 + c);
          const auto feature = static_cast<size_t>(n * 40 + (h * 10 + w * 2 + c));  // rows, columns, then channels
          ASSERT_EQ(y[feature], x[pixel]);
          ASSERT_EQ(dx[pixel], dy[feature]);
        }
  EXPECT_TRUE(gradient_matches(std::make_shared<FlattenOp>(image), {x}, {0}, {.elements = 120}));
}

TEST(Flatten, IsAViewAndSoIsItsGradient) {
  Graph graph;
  const Value x = graph.source("x", {Shape{4, 3, 2, 5}}, Role::activation);
  const Value y = graph.add1("flat", std::make_shared<FlattenOp>(Shape{4, 3, 2, 5}), {x});
  EXPECT_EQ(graph.type(y).shape, (Shape{4, 30}));
  const Node node = graph.nodes()[0];
  const std::vector<Value> dy{graph.source("dy", {Shape{4, 30}}, Role::activation)};
  const auto dx = node.op->backward(graph, node, dy);
  ASSERT_EQ(dx.size(), 1U);
  EXPECT_EQ(graph.type(dx[0]), graph.type(x));
  EXPECT_EQ(graph.nodes()[1].name, "flat/grad");
  for (const Node& made : graph.nodes()) EXPECT_EQ(made.op->reuse(), Reuse::view);
  // A lane's graph: the batch follows the input.
  EXPECT_EQ(graph.nodes()[1].op->infer(std::vector<Type>{{Shape{2, 30}}})[0].shape, (Shape{2, 3, 2, 5}));
  EXPECT_EQ(error_of([&] {
              graph.nodes()[1].op->infer(std::vector<Type>{{Shape{2, 31}}});
            }),
            "got f32[2, 31], expected as many elements as [2, 3, 2, 5] has");
  EXPECT_EQ(error_of([] { FlattenOp({2}).infer(std::vector<Type>{{Shape{2}}}); }),
            "got f32[2], expected a batch of at least one dimension");
}

TEST(Elementwise, Layers) {
  Graph graph;
  Builder builder(graph, 4, 1, true);
  const Value x = graph.source("x", {Shape{4, 7, 8, 3}}, Role::lane_input);
  const Value z = graph.source("z", {Shape{4, 7, 8, 5}}, Role::lane_input);
  const auto shape = [&](const Layer& layer, std::string name, std::vector<Value> in) {
    builder.enter(std::move(name), 0);
    return graph.type(layer.build(builder, in)).shape;
  };
  EXPECT_EQ(shape(Add(), "a", {x, x, x}), (Shape{4, 7, 8, 3}));
  EXPECT_EQ(graph.nodes().size(), 2U);
  EXPECT_EQ(shape(Concatenate(), "b", {x, z, x}), (Shape{4, 7, 8, 11}));
  EXPECT_EQ(shape(Flatten(), "c", {x}), (Shape{4, 168}));
  EXPECT_EQ(shape(ReLU(), "d", {x}), (Shape{4, 7, 8, 3}));
  EXPECT_EQ(shape(Softmax(), "e", {x}), (Shape{4, 7, 8, 3}));
  EXPECT_EQ(error_of([&] { shape(Add(), "f", {x}); }), "layer 'f': Add takes at least 2 inputs, 1 were given");
  EXPECT_EQ(error_of([&] {
              shape(Add(), "g", {x, z});
            }),
            "layer 'g': the second input is f32[4, 7, 8, 5], expected f32[4, 7, 8, 3]");
  Concatenate across;
  across.axis = 1;
  EXPECT_EQ(error_of([&] { shape(across, "h", {x, z}); }), "layer 'h': axis is 1, expected -1 (the channels)");
}

}  // namespace
}  // namespace lockstep
